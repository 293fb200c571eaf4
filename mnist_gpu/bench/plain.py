"""The network as anybody would write it: the naive ways train this."""

from typing import Any

from torch import nn

from mnist_gpu.protocol.network import Network


def plain_network(network: Network) -> nn.Sequential:
    """PyTorch's own layers in the order of the protocol, its own initial weights."""
    modules: list[nn.Module] = []
    for layer in network.layers:
        match layer.kind:
            case "conv":
                channels = layer.input_shape[0]
                modules.append(
                    nn.Conv2d(channels, layer.filters, layer.kernel, padding=layer.padding)
                )
            case "relu":
                modules.append(nn.ReLU())
            case "max_pool":
                modules.append(nn.MaxPool2d(layer.size))
            case "dropout":
                modules.append(nn.Dropout(layer.rate))
            case "flatten":
                modules.append(nn.Flatten())
            case "linear":
                modules.append(nn.Linear(layer.input_shape[0], layer.units))
    return nn.Sequential(*modules)


def plain_keras(network: Network) -> Any:
    """Keras' own layers with Keras' defaults, compiled as in its MNIST example."""
    import keras

    stack: list[Any] = [keras.Input((28, 28, 1))]
    for layer in network.layers:
        match layer.kind:
            case "conv":
                padding = "same" if layer.padding else "valid"
                stack.append(keras.layers.Conv2D(layer.filters, layer.kernel, padding=padding))
            case "relu":
                stack.append(keras.layers.ReLU())
            case "max_pool":
                stack.append(keras.layers.MaxPooling2D(layer.size))
            case "dropout":
                stack.append(keras.layers.Dropout(layer.rate))
            case "flatten":
                stack.append(keras.layers.Flatten())
            case "linear":
                stack.append(keras.layers.Dense(layer.units))
    model = keras.Sequential(stack)
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), optimizer="adam"
    )
    return model
