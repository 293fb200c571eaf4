"""The network in Keras' layers, over training data that stays on the device."""

from typing import Any

import keras
from keras import ops
from typing_extensions import override

from mnist_gpu.protocol.network import Layer, Network, relu_after_pool


class ResidentModel(keras.Model):
    """A model whose training batches are indices into images and labels that it holds.

    For TensorFlow: PyTorch's trainer wants to see a whole batch first, JAX's would copy the data
    at every step.
    """

    def hold(self, images: Any, labels: Any) -> None:
        """Keep images (n, 28, 28, 1) and labels (n,) on the device."""
        self._images = [ops.convert_to_tensor(images)]
        self._labels = [ops.convert_to_tensor(labels)]

    @override
    def train_step(self, data: Any) -> Any:
        indices = data[0] if isinstance(data, (tuple, list)) else data
        images = ops.take(self._images[0], indices, axis=0)
        return super().train_step((images, ops.take(self._labels[0], indices, axis=0)))


def build(network: Network, policy: str, kind: type[keras.Model]) -> keras.Model:
    """The layers of `network`, channels last; weights are Keras' own until they are loaded.

    Args:
        network: the layers.
        policy: Keras' dtype policy, such as `mixed_bfloat16`.
        kind: class of the model.
    """
    inputs = keras.Input((28, 28, 1), dtype="float64" if policy == "float64" else "float32")
    x = inputs
    for layer in relu_after_pool(network.layers):
        made = _layer(layer, policy)
        x = x if made is None else made(x)
    return kind(inputs=inputs, outputs=x)


def _layer(layer: Layer, policy: str) -> keras.layers.Layer | None:
    match layer.kind:
        case "conv" if layer.padding:
            # Keras pads by name; an explicit layer pads by number
            return keras.Sequential(
                [
                    keras.layers.ZeroPadding2D(layer.padding, dtype=policy),
                    keras.layers.Conv2D(layer.filters, layer.kernel, name=layer.name, dtype=policy),
                ]
            )
        case "conv":
            return keras.layers.Conv2D(layer.filters, layer.kernel, name=layer.name, dtype=policy)
        case "linear":
            return keras.layers.Dense(layer.units, name=layer.name, dtype=policy)
        case "dropout":
            return keras.layers.Dropout(layer.rate, dtype=policy) if layer.rate else None
    plain: dict[str, Any] = {
        "relu": lambda: keras.layers.ReLU(dtype=policy),
        "max_pool": lambda: _pooling(layer.size, policy),
        "flatten": lambda: keras.layers.Flatten(dtype=policy),
    }
    return plain[layer.kind]()


def _pooling(size: int, policy: str) -> keras.layers.Layer:
    if keras.backend.backend() != "tensorflow":
        return keras.layers.MaxPooling2D(size, dtype=policy)
    from mnist_gpu.engines.tensorflow.pooling import max_pool

    return keras.layers.Lambda(lambda x: max_pool(x, size), dtype=policy)
