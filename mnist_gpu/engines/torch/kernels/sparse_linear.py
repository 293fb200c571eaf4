"""The binding of `sparse_linear.c`: which layers it can do, and the calls."""

import ctypes
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from mnist_gpu.engines.torch.kernels import compiler, kernel
from mnist_gpu.protocol.network import Layer

SOURCE = Path(__file__).with_suffix(".c")
CHUNK, SPARE = 64, 16  # as in the source
UNIT_BYTES = 512  # what a row of weights is a multiple of, whatever the processor


class SparseLinear:
    """A fully connected layer that leaves out products with the zeros of its input.

    Every tensor is on the CPU and dense, and the weights' memory goes feature by feature
    (`lay_out`).

    Args:
        library: compiled for these sizes.
        dtype: of the weights and the output, and of their gradients.
        input_dtype: of the input and its gradient.
    """

    def __init__(self, library: ctypes.CDLL, dtype: torch.dtype, input_dtype: torch.dtype) -> None:
        self.library = library
        self.dtype, self.input_dtype = dtype, input_dtype

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """The output: (n, units).

        Args:
            x: (n, features).
            weight: (units, features).
            bias: (units,).
        """
        output = torch.empty(len(x), len(weight), dtype=self.dtype)
        room = torch.empty(torch.get_num_threads() * output.numel(), dtype=self.dtype)
        kernel.call(self.library.forward, (x, weight, bias, room, output), (), len(x))
        return output

    def backward(self, x: Tensor, weight: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """The gradients of `x`, 0 where `x` is 0, and of `weight`.

        Args:
            x: what `forward` was given.
            weight: the same.
            gradient: of the output.
        """
        rounded = torch.empty(gradient.shape, dtype=self.input_dtype)
        room = torch.empty(torch.get_num_threads() * CHUNK * (3 * len(x) + SPARE), dtype=self.dtype)
        to_x, to_weight = torch.empty_like(x), torch.empty_like(weight)
        tensors = (x, weight, gradient.contiguous(), rounded, room, to_x, to_weight)
        kernel.call(self.library.backward, tensors, (), len(x))
        return to_x, to_weight


def lay_out(weight: Tensor) -> Tensor:
    """`weight` (units, features) with its memory feature by feature."""
    return weight.t().contiguous().t()


def supports(linear: Layer, dtype: torch.dtype) -> bool:
    """Whether the kernel can do this layer."""
    return (
        linear.kind == "linear"
        and linear.input_shape[0] % CHUNK == 0
        and linear.units * dtype.itemsize % UNIT_BYTES == 0
        and dtype in kernel.TYPES
    )


@cache
def load_verified(linear: Layer, dtype: torch.dtype, bfloat16: bool = False) -> SparseLinear | None:
    """The kernel for a layer that suits, None (and a warning that says why) if it cannot be had
    here.

    Args:
        linear: the layer.
        dtype: of the weights and the output.
        bfloat16: whether the input, its gradient and what is multiplied may be rounded to that,
            where the processor can.
    """
    numbers = kernel.image_type(dtype, bfloat16)
    [features] = linear.input_shape
    macros = {**kernel.macros(dtype, numbers), "FEATURES": features, "UNITS": linear.units}

    def make() -> SparseLinear:
        return SparseLinear(compiler.load(SOURCE, macros), dtype, numbers)

    return kernel.verified(linear.name, make, lambda made: _agrees(made, linear))


def _agrees(made: SparseLinear, linear: Layer) -> bool:
    """Whether five images come out as with PyTorch's operations, forward and backward."""
    random = torch.Generator().manual_seed(0)
    [features] = linear.input_shape
    x = torch.relu(kernel.whole_numbers(random, made.dtype, 5, features))
    weight = lay_out(kernel.whole_numbers(random, made.dtype, linear.units, features))
    bias = kernel.whole_numbers(random, made.dtype, linear.units)
    gradient = kernel.whole_numbers(random, made.dtype, 5, linear.units)
    narrow = x.to(made.input_dtype)
    found = made.forward(narrow, weight, bias), *made.backward(narrow, weight, gradient)
    wanted = torch.addmm(bias, x, weight.t()), (gradient @ weight) * (x > 0), gradient.t() @ x
    return kernel.close(found, wanted)
