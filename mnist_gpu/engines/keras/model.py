"""The network in Keras' own layers, and PyTorch's Adam; imported once the backend is chosen."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy.typing as npt
from keras import ops

from mnist_gpu.protocol.network import Network


def build(network: Network) -> keras.Sequential:
    """The layers of `network` from (n, 28, 28, 1) to (n, 10) logits, with Keras' own weights."""
    return keras.Sequential([keras.Input((28, 28, 1)), *_layers(network)])


def _layers(network: Network) -> Iterator[keras.layers.Layer]:
    for layer in network.layers:
        match layer.kind:
            case "conv":
                # Keras pads by words, not by a number
                same = 2 * layer.padding == layer.kernel - 1
                if layer.padding and not same:
                    yield keras.layers.ZeroPadding2D(layer.padding)
                padding = "same" if same else "valid"
                yield keras.layers.Conv2D(
                    layer.filters, layer.kernel, padding=padding, name=layer.name
                )
            case "linear":
                yield keras.layers.Dense(layer.units, name=layer.name)
            case "relu":
                yield keras.layers.Activation("relu")
            case "max_pool":
                yield keras.layers.MaxPooling2D(layer.size)
            case "dropout":
                yield keras.layers.Dropout(layer.rate)
            case "flatten":
                yield keras.layers.Flatten()


class Resident(keras.layers.Layer):
    """Looks images up by their index: the first layer of a model that keeps its training images on
    the device.

    Args:
        images: (n, 28, 28, 1), normalised.
    """

    def __init__(self, images: npt.NDArray[Any]) -> None:
        super().__init__(autocast=False)
        self.images = keras.Variable(images, trainable=False)

    def call(self, indices: Any) -> Any:
        return ops.take(self.images, indices, axis=0)


class Adam(keras.optimizers.Adam):
    """Adam with epsilon outside the bias-corrected root (Kingma & Ba, algorithm 1), as in PyTorch.

    Keras has it inside ("epsilon hat", end of their section 2), which an epsilon that shrinks with
    the bias correction makes up for.
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        number = self._get_variable_index(variable)
        m, v = self._momentums[number], self._velocities[number]
        # `ops.cast` of a Python number would go through float32
        beta_1 = ops.convert_to_tensor(self.beta_1, variable.dtype)
        beta_2 = ops.convert_to_tensor(self.beta_2, variable.dtype)
        step = ops.cast(self.iterations + 1, variable.dtype)
        root = ops.sqrt(1 - ops.power(beta_2, step))
        alpha = ops.cast(learning_rate, variable.dtype) * root / (1 - ops.power(beta_1, step))
        gradient = ops.cast(gradient, variable.dtype)
        self.assign_add(m, (gradient - m) * (1 - self.beta_1))
        self.assign_add(v, (ops.square(gradient) - v) * (1 - self.beta_2))
        self.assign_sub(variable, m * alpha / (ops.sqrt(v) + self.epsilon * root))
