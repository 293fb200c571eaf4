"""From the neutral layout of weights (PyTorch's) to a framework's own, and back."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mnist_gpu.protocol.network import Network

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Layout:
    """How a channels-last framework lays out its weights.

    Attributes:
        conv: the neutral conv axes (out, in, kh, kw) in the framework's order.
        linear_transposed: whether a linear weight is (in, out) there.
        flattened: by weight name, the channel-first shape that is flattened before it; there the
            framework's features come in channel-last order.
    """

    conv: tuple[int, int, int, int]
    linear_transposed: bool
    flattened: dict[str, tuple[int, ...]]

    def outside(self, name: str, array: Array) -> Array:
        """From the framework's layout to the neutral one: a copy, C-contiguous."""
        if array.ndim == 4:
            array = array.transpose(np.argsort(self.conv))
        elif array.ndim == 2:
            array = array.T if self.linear_transposed else array
            if name in self.flattened:
                channels, height, width = self.flattened[name]
                unfolded = array.reshape(-1, height, width, channels)
                array = unfolded.transpose(0, 3, 1, 2).reshape(array.shape)
        return np.array(array, order="C", copy=True)

    def inside(self, name: str, array: Array) -> Array:
        """The other way round."""
        if array.ndim == 4:
            array = array.transpose(self.conv)
        elif array.ndim == 2:
            if name in self.flattened:
                unfolded = array.reshape(-1, *self.flattened[name])
                array = unfolded.transpose(0, 2, 3, 1).reshape(array.shape)
            array = array.T if self.linear_transposed else array
        return np.array(array, order="C", copy=True)


def tensorflow_layout(network: Network) -> Layout:
    """TensorFlow's and Keras': conv (kh, kw, in, out), linear (in, out)."""
    return Layout((2, 3, 1, 0), True, flattened_before(network))


def mlx_layout(network: Network) -> Layout:
    """MLX's: conv (out, kh, kw, in), linear (out, in)."""
    return Layout((0, 2, 3, 1), False, flattened_before(network))


def flattened_before(network: Network) -> dict[str, tuple[int, ...]]:
    """The image shape (channels, height, width) flattened right before a linear layer, by the name
    of its weight; a single channel has but one order and is left out."""
    found = {}
    shape: tuple[int, ...] | None = None
    for layer in network.layers:
        if layer.kind == "flatten":
            shape = layer.input_shape
        elif layer.kind == "linear":
            if shape is not None and shape[0] > 1:
                found[f"{layer.name}.weight"] = shape
            shape = None
    return found
