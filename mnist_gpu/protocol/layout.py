"""From PyTorch's layout of weights to a channels-last framework's own, and back."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mnist_gpu.protocol.network import Network

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Layout:
    """How a framework that keeps channels last lays out the weights of a network."""

    network: Network
    conv: tuple[int, int, int, int]  # PyTorch's axes (out, in, kh, kw) in the framework's order
    linear: tuple[int, int]  # likewise of a linear weight (out, in)

    def inside(self, name: str, array: Array) -> Array:
        """From PyTorch's layout to the framework's: a copy, C-contiguous."""
        # what was flattened lies in another order where channels come last
        if shape := self._flattened(name):
            images = array.reshape(-1, *shape)
            array = images.transpose(0, 2, 3, 1).reshape(array.shape)
        return np.array(array.transpose(self._axes(array)), order="C")

    def outside(self, name: str, array: Array) -> Array:
        """From the framework's layout to PyTorch's: a copy, C-contiguous."""
        # argsort of a permutation is its inverse
        array = array.transpose(np.argsort(self._axes(array)))
        if shape := self._flattened(name):
            channels, *sides = shape
            images = array.reshape(-1, *sides, channels)
            array = images.transpose(0, 3, 1, 2).reshape(array.shape)
        return np.array(array, order="C")

    def _axes(self, array: Array) -> tuple[int, ...]:
        return {4: self.conv, 2: self.linear}.get(array.ndim, (0,))

    def _flattened(self, name: str) -> tuple[int, ...] | None:
        """The image (channels, height, width) that is flattened right before the linear layer whose
        weight is called so."""
        shape = None
        for layer in self.network.layers:
            if layer.kind == "flatten":
                shape = layer.input_shape
            elif layer.kind == "linear":
                if f"{layer.name}.weight" == name:
                    return shape
                shape = None
        return None


def tensorflow_layout(network: Network) -> Layout:
    """TensorFlow's and Keras': convolution (kh, kw, in, out), linear (in, out)."""
    return Layout(network, (2, 3, 1, 0), (1, 0))


def mlx_layout(network: Network) -> Layout:
    """MLX's: convolution (out, kh, kw, in), linear (out, in)."""
    return Layout(network, (0, 2, 3, 1), (0, 1))
