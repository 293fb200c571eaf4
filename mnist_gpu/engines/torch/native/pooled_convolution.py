"""The binding of `pooled_convolution.c`: which layers it can do, and the calls."""

import ctypes
import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from mnist_gpu.engines.torch.native import compiler
from mnist_gpu.models.network import Layer

log = logging.getLogger(__name__)
SOURCE = Path(__file__).with_suffix(".c")
TYPES = {torch.float32: ("float", "int32_t"), torch.float64: ("double", "int64_t")}
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-13}
LARGEST_TILE_BLOCK = 6
CHANNELS_LAST = torch.channels_last


class PooledConvolution:
    """Convolution, max-pool, ReLU and dropout of one layer's sizes in one kernel.

    Every tensor is dense and on the CPU, images are channels-last.

    Args:
        library: compiled for these sizes.
        layer: the convolution.
        dtype: of every tensor of real numbers.
    """

    def __init__(self, library: ctypes.CDLL, layer: Layer, dtype: torch.dtype) -> None:
        channels, height, width = layer.input_shape
        self.library = library
        self.dtype = dtype
        self.output_shape = (layer.filters, (height - 2) // 2, (width - 2) // 2)
        self.transformed = torch.empty(16 * channels * layer.filters, dtype=dtype)
        self.parameters = layer.filters * (9 * channels + 1)

    def output(self, images: int) -> Tensor:
        """An empty output: (images, filters, h, w)."""
        shape = (images, *self.output_shape)
        return torch.empty(shape, dtype=self.dtype, memory_format=CHANNELS_LAST)

    def forward(
        self, x: Tensor, weight: Tensor, bias: Tensor, random: Tensor | None, threshold: int
    ) -> tuple[Tensor, Tensor]:
        """The output, and the place of each window's largest element in it (uint8, 0 to 3).

        Args:
            x: (n, channels, height, width).
            weight: (filters, channels, 3, 3).
            bias: (filters,).
            random: a byte for each number of the output, which is dropped if the byte is below
                `threshold`; None: no dropout.
            threshold: 256 times the rate.
        """
        pooled = self.output(len(x))
        winners = torch.empty_like(pooled, dtype=torch.uint8)
        tensors = (x, weight, bias, random, self.transformed, pooled, winners)
        numbers = (ctypes.c_int(threshold), ctypes.c_double(_scale(threshold)))
        self._call(self.library.forward, tensors, numbers, len(x))
        return pooled, winners

    def backward(
        self,
        x: Tensor,
        weight: Tensor,
        gradient: Tensor,
        pooled: Tensor,
        winners: Tensor,
        threshold: int,
        rectified: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The gradients of `x`, `weight` and the bias.

        Args:
            x: what `forward` was given.
            weight: the same.
            gradient: of `pooled`.
            pooled: what `forward` gave.
            winners: the same.
            threshold: what `forward` was given.
            rectified: whether `x` comes out of a ReLU: then the gradient is that of its input.
        """
        partial = torch.empty(torch.get_num_threads() * self.parameters, dtype=self.dtype)
        to_x, to_weight = torch.empty_like(x), torch.empty_like(weight)
        to_bias = torch.empty(len(weight), dtype=self.dtype)
        gradient = gradient.contiguous(memory_format=CHANNELS_LAST)
        tensors = (x, weight, gradient, pooled, winners, partial, to_x, to_weight, to_bias)
        numbers = (ctypes.c_int(rectified), ctypes.c_double(_scale(threshold)))
        self._call(self.library.backward, tensors, numbers, len(x))
        return to_x, to_weight, to_bias

    def _call(
        self,
        function: Callable[..., object],
        tensors: tuple[Tensor | None, ...],
        numbers: tuple[ctypes.c_int, ctypes.c_double],
        images: int,
    ) -> None:
        pointers = [ctypes.c_void_p(None if t is None else t.data_ptr()) for t in tensors]
        function(*pointers, *numbers, ctypes.c_int(images), ctypes.c_int(torch.get_num_threads()))


def suits(conv: Layer, pool: Layer, relu: Layer, dtype: torch.dtype) -> bool:
    """Whether the kernel can do these three layers."""
    return (
        (conv.kind, pool.kind, relu.kind) == ("conv", "max_pool", "relu")
        and (conv.kernel, conv.padding, pool.size) == (3, 0, 2)
        and conv.input_shape[0] % 16 == 0
        and conv.filters % 64 == 0
        and dtype in TYPES
    )


@cache
def find(conv: Layer, dtype: torch.dtype) -> PooledConvolution | None:
    """The kernel for a convolution that suits, None (and a warning that says why) if it cannot be
    had here. It is compared with PyTorch's own operations before it is trusted."""
    real, integer = TYPES[dtype]
    channels, height, width = conv.input_shape
    tiles = (width - 2) // 2
    block = max(n for n in range(1, LARGEST_TILE_BLOCK + 1) if tiles % n == 0)
    sizes = {"CHANNELS": channels, "FILTERS": conv.filters, "HEIGHT": height, "WIDTH": width}
    try:
        library = compiler.load(
            SOURCE, {"REAL": real, "INTEGER": integer, "TILE_BLOCK": block, **sizes}
        )
        kernel = PooledConvolution(library, conv, dtype)
        if not _agrees(kernel, conv):
            raise compiler.Unavailable("it does not compute what PyTorch computes")
    except compiler.Unavailable as why:
        log.warning(
            "%s: our own kernel is not used: %s. PyTorch's take its place: the same, but slower",
            conv.name,
            why,
        )
        return None
    return kernel


def _scale(threshold: int) -> float:
    return 1.0 / (1.0 - threshold / 256)


def _agrees(kernel: PooledConvolution, conv: Layer) -> bool:
    """Whether three images come out as with PyTorch's operations, forward and backward."""
    random = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        drawn = torch.randn(shape, generator=random, dtype=kernel.dtype)
        return drawn.contiguous(memory_format=CHANNELS_LAST) if len(shape) == 4 else drawn

    channels = conv.input_shape[0]
    inner = draw(3, *conv.input_shape)
    weight, bias = draw(conv.filters, channels, 3, 3), draw(conv.filters)
    gradient = draw(3, *kernel.output_shape)
    x = torch.relu(inner)
    pooled, winners = kernel.forward(x, weight, bias, None, 0)
    found = kernel.backward(x, weight, gradient, pooled, winners, 0, rectified=True)
    with torch.enable_grad():
        given = [tensor.requires_grad_() for tensor in (inner, weight, bias)]
        convolved = torch.conv2d(torch.relu(inner), weight, bias)
        expected = torch.relu(torch.max_pool2d(convolved, 2))
        wanted = torch.autograd.grad(expected, given, gradient)
    return all(
        bool((one - other).abs().max() <= TOLERANCE[kernel.dtype] * other.abs().max())
        for one, other in zip((pooled, *found), (expected, *wanted), strict=True)
    )
