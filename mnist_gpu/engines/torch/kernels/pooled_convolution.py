"""The binding of `pooled_convolution.c`: which layers it can do, and the calls."""

import ctypes
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from mnist_gpu.engines.torch.kernels import compiler, kernel
from mnist_gpu.protocol.network import Layer

SOURCE = Path(__file__).with_suffix(".c")
LARGEST_TILE_BLOCK = 6
BFLOAT16_CHANNELS = 32  # a multiple of


class PooledConvolution:
    """Convolution, max-pool, ReLU and dropout of one layer's sizes in one kernel.

    Every tensor is dense and on the CPU, images are channels-last.

    Args:
        library: compiled for these sizes.
        layer: the convolution.
        dtype: of the weights and their gradients.
        image_dtype: of the input and the output, and of their gradients.
    """

    def __init__(
        self, library: ctypes.CDLL, layer: Layer, dtype: torch.dtype, image_dtype: torch.dtype
    ) -> None:
        channels, height, width = layer.input_shape
        self.library = library
        self.dtype, self.image_dtype = dtype, image_dtype
        self.output_shape = (layer.filters, (height - 2) // 2, (width - 2) // 2)
        self.transformed = torch.empty(16 * channels * layer.filters, dtype=image_dtype)
        self.room = layer.filters * (9 * channels + 1) + channels * height * width

    def forward(
        self, x: Tensor, weight: Tensor, bias: Tensor, kept: Tensor | None, scale: float
    ) -> tuple[Tensor, Tensor]:
        """The output, and for each of its numbers (uint8) the place of the largest element in its
        window, 0 to 3, or more where it is zero.

        Args:
            x: (n, channels, height, width).
            weight: (filters, channels, 3, 3).
            bias: (filters,).
            kept: a bit for each number of the output, in memory order, the lowest of a byte first:
                0 drops it; None: no dropout.
            scale: of what is kept.
        """
        shape = (len(x), *self.output_shape)
        pooled = torch.empty(shape, dtype=self.image_dtype, memory_format=kernel.CHANNELS_LAST)
        winners = torch.empty_like(pooled, dtype=torch.uint8)
        tensors = (x, weight, bias, kept, self.transformed, pooled, winners)
        kernel.call(self.library.forward, tensors, (scale,), len(x))
        return pooled, winners

    def backward(
        self,
        x: Tensor,
        weight: Tensor,
        gradient: Tensor,
        winners: Tensor,
        scale: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The gradients of `x`, `weight` and the bias.

        Args:
            x: what `forward` was given.
            weight: the same.
            gradient: of the output.
            winners: what `forward` gave.
            scale: what `forward` was given.
        """
        room = torch.empty(torch.get_num_threads() * self.room, dtype=self.dtype)
        to_x, to_weight = torch.empty_like(x), torch.empty_like(weight)
        to_bias = torch.empty(len(weight), dtype=self.dtype)
        gradient = gradient.contiguous(memory_format=kernel.CHANNELS_LAST)
        tensors = (x, weight, gradient, winners, room, to_x, to_weight, to_bias)
        kernel.call(self.library.backward, tensors, (scale,), len(x))
        return to_x, to_weight, to_bias


def supports(conv: Layer, pool: Layer, relu: Layer, dtype: torch.dtype) -> bool:
    """Whether the kernel can do these three layers."""
    return (
        (conv.kind, pool.kind, relu.kind) == ("conv", "max_pool", "relu")
        and (conv.kernel, conv.padding, pool.size) == (3, 0, 2)
        and conv.input_shape[0] % 16 == 0
        and conv.filters % 64 == 0
        and dtype in kernel.TYPES
    )


@cache
def load_verified(
    conv: Layer, dtype: torch.dtype, bfloat16: bool = False
) -> PooledConvolution | None:
    """The kernel for a convolution that suits, None (and a warning that says why) if it cannot be
    had here.

    Args:
        conv: the convolution.
        dtype: of the weights and their gradients.
        bfloat16: whether images, their gradients and what is multiplied may be rounded to that,
            where the processor can.
    """
    channels, height, width = conv.input_shape
    tiles = (width - 2) // 2
    images = kernel.image_type(dtype, bfloat16 and channels % BFLOAT16_CHANNELS == 0)
    macros = {
        **kernel.macros(dtype, images),
        "TILE_BLOCK": max(n for n in range(1, LARGEST_TILE_BLOCK + 1) if tiles % n == 0),
        "CHANNELS": channels,
        "FILTERS": conv.filters,
        "HEIGHT": height,
        "WIDTH": width,
    }

    def make() -> PooledConvolution:
        return PooledConvolution(compiler.load(SOURCE, macros), conv, dtype, images)

    return kernel.verified(conv.name, make, lambda made: _agrees(made, conv))


def _agrees(made: PooledConvolution, conv: Layer) -> bool:
    """Whether three images come out as with PyTorch's operations, forward and backward."""
    random = torch.Generator().manual_seed(0)
    x = kernel.whole_numbers(random, made.dtype, 3, *conv.input_shape)
    weight = kernel.whole_numbers(random, made.dtype, conv.filters, conv.input_shape[0], 3, 3)
    bias = kernel.whole_numbers(random, made.dtype, conv.filters)
    gradient = kernel.whole_numbers(random, made.dtype, 3, *made.output_shape)
    narrow = x.to(made.image_dtype)
    pooled, winners = made.forward(narrow, weight, bias, None, 1.0)
    found = made.backward(narrow, weight, gradient.to(made.image_dtype), winners, 1.0)
    with torch.enable_grad():
        given = [tensor.requires_grad_() for tensor in (x, weight, bias)]
        expected = torch.relu(torch.max_pool2d(torch.conv2d(x, weight, bias), 2))
        wanted = torch.autograd.grad(expected, given, gradient)
    return kernel.close((pooled, *found), (expected, *wanted))
