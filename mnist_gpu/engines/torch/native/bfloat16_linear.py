"""The binding of `bfloat16_linear.c`: which layers it can do, and the calls."""

import ctypes
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from mnist_gpu.engines.torch.native import compiler, kernel
from mnist_gpu.models.network import Layer

SOURCE = Path(__file__).with_suffix(".c")
TILE, CHUNK, LANES = 4, 64, 16  # as in the source


class Bfloat16Linear:
    """A fully connected layer with products of bfloat16 and sums, and weights, of float32.

    Every tensor is dense and on the CPU.

    Args:
        library: compiled for these sizes.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self.library = library

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """The output: (n, units) float32.

        Args:
            x: (n, features) bfloat16.
            weight: (units, features) float32.
            bias: (units,) float32.
        """
        output = torch.empty(len(x), len(weight))
        room = torch.empty(torch.get_num_threads() * len(x) * TILE * LANES)
        kernel.call(self.library.forward, (x, weight, bias, room, output), (), len(x))
        return output

    def backward(self, x: Tensor, weight: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """The gradients of `x` and `weight`, float32.

        Args:
            x: what `forward` was given.
            weight: the same.
            gradient: of the output, (n, units) float32.
        """
        rounded = gradient.to(torch.bfloat16)
        # pairs of images are multiplied at once
        transpose = torch.zeros(len(weight), len(x) + len(x) % 2, dtype=torch.bfloat16)
        transpose[:, : len(x)] = rounded.t()
        chunks = torch.get_num_threads() * (len(x) + 1) * CHUNK
        room = torch.empty(chunks, dtype=torch.bfloat16)
        to_x, to_weight = torch.empty(x.shape), torch.empty_like(weight)
        tensors = (x, weight, rounded, transpose, room, to_x, to_weight)
        kernel.call(self.library.backward, tensors, (), len(x))
        return to_x, to_weight


def suits(linear: Layer) -> bool:
    """Whether the kernel can do this layer on this processor."""
    return (
        linear.kind == "linear"
        and linear.input_shape[0] % CHUNK == 0
        and linear.units % TILE == 0
        and compiler.has_bfloat16()
    )


@cache
def find(linear: Layer) -> Bfloat16Linear | None:
    """The kernel for a layer that suits, None (and a warning that says why) if it cannot be had
    here."""
    sizes = {"FEATURES": linear.input_shape[0], "UNITS": linear.units}
    return kernel.trusted(
        linear.name,
        lambda: Bfloat16Linear(compiler.load(SOURCE, sizes)),
        lambda made: _agrees(made, linear),
    )


def _agrees(made: Bfloat16Linear, linear: Layer) -> bool:
    """Whether five images come out as with PyTorch's operations, forward and backward."""
    random = torch.Generator().manual_seed(0)
    [features] = linear.input_shape
    x = kernel.whole_numbers(random, torch.float32, 5, features)
    weight = kernel.whole_numbers(random, torch.float32, linear.units, features)
    bias = kernel.whole_numbers(random, torch.float32, linear.units)
    gradient = kernel.whole_numbers(random, torch.float32, 5, linear.units)
    rounded = x.to(torch.bfloat16)
    found = made.forward(rounded, weight, bias), *made.backward(rounded, weight, gradient)
    wanted = torch.addmm(bias, x, weight.t()), gradient @ weight, gradient.t() @ x
    return kernel.close(found, wanted)
