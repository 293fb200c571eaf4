"""The binding of `first_convolution.c`: which layers it can do, and the calls."""

import ctypes
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from mnist_gpu.engines.torch.kernels import compiler, kernel
from mnist_gpu.protocol.network import Layer

SOURCE = Path(__file__).with_suffix(".c")
TAPS = 9


class FirstConvolution:
    """A 3x3 convolution of images of one channel and the ReLU after it in one kernel.

    Every tensor is dense and on the CPU, outputs are channels-last.

    Args:
        library: compiled for these sizes.
        conv: the convolution.
        dtype: of every tensor but the output and its gradient.
        image_dtype: of these.
    """

    def __init__(
        self, library: ctypes.CDLL, conv: Layer, dtype: torch.dtype, image_dtype: torch.dtype
    ) -> None:
        _, height, width = conv.input_shape
        self.library = library
        self.dtype, self.image_dtype = dtype, image_dtype
        self.output_shape = (conv.filters, height - 2, width - 2)

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """The output, rectified: (n, filters, height - 2, width - 2).

        Args:
            x: (n, 1, height, width).
            weight: (filters, 1, 3, 3).
            bias: (filters,).
        """
        shape = (len(x), *self.output_shape)
        output = torch.empty(shape, dtype=self.image_dtype, memory_format=kernel.CHANNELS_LAST)
        kernel.call(self.library.forward, (x, weight, bias, output), (), len(x))
        return output

    def backward(
        self, x: Tensor, weight: Tensor, output: Tensor, gradient: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The gradients of `weight` and the bias.

        Args:
            x: what `forward` was given.
            weight: the same.
            output: what `forward` gave.
            gradient: of the output.
        """
        filters = len(weight)
        partial = torch.empty(torch.get_num_threads() * filters * (TAPS + 1), dtype=self.dtype)
        to_weight, to_bias = torch.empty_like(weight), torch.empty(filters, dtype=self.dtype)
        gradient = gradient.contiguous(memory_format=kernel.CHANNELS_LAST)
        tensors = (x, output, gradient, partial, to_weight, to_bias)
        kernel.call(self.library.backward, tensors, (), len(x))
        return to_weight, to_bias


def supports(conv: Layer, relu: Layer, dtype: torch.dtype) -> bool:
    """Whether the kernel can do these two layers."""
    return (
        (conv.kind, relu.kind) == ("conv", "relu")
        and (conv.kernel, conv.padding, conv.input_shape[0]) == (3, 0, 1)
        and conv.filters % 16 == 0
        and dtype in kernel.TYPES
    )


@cache
def load_verified(
    conv: Layer, dtype: torch.dtype, bfloat16: bool = False
) -> FirstConvolution | None:
    """The kernel for a convolution that suits, None (and a warning that says why) if it cannot be
    had here.

    Args:
        conv: the convolution.
        dtype: of the weights.
        bfloat16: whether the output and its gradient may be rounded to that, where the processor
            can.
    """
    _, height, width = conv.input_shape
    images = kernel.image_type(dtype, bfloat16)
    macros = kernel.macros(dtype, images)
    macros |= {"FILTERS": conv.filters, "HEIGHT": height, "WIDTH": width}

    def make() -> FirstConvolution:
        return FirstConvolution(compiler.load(SOURCE, macros), conv, dtype, images)

    return kernel.verified(conv.name, make, lambda made: _agrees(made, conv))


def _agrees(made: FirstConvolution, conv: Layer) -> bool:
    """Whether three images come out as with PyTorch's operations, forward and backward."""
    random = torch.Generator().manual_seed(0)
    x = kernel.whole_numbers(random, made.dtype, 3, *conv.input_shape)
    weight = kernel.whole_numbers(random, made.dtype, conv.filters, 1, 3, 3)
    bias = kernel.whole_numbers(random, made.dtype, conv.filters)
    gradient = kernel.whole_numbers(random, made.dtype, 3, *made.output_shape)
    output = made.forward(x, weight, bias)
    found = made.backward(x, weight, output, gradient.to(made.image_dtype))
    with torch.enable_grad():
        given = [tensor.requires_grad_() for tensor in (weight, bias)]
        expected = torch.relu(torch.conv2d(x, weight, bias))
        wanted = torch.autograd.grad(expected, given, gradient)
    return kernel.close((output, *found), (expected, *wanted))
