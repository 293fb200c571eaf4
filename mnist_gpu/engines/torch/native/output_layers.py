"""The binding of `output_layers.c`: which layers it can do, and the calls."""

import ctypes
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from mnist_gpu.engines.torch.native import compiler, kernel
from mnist_gpu.protocol.network import Layer

SOURCE = Path(__file__).with_suffix(".c")
FEATURES, MOST_UNITS = 16, 64  # a multiple of; more are worth a library's product


class OutputLayers:
    """ReLU, dropout, a fully connected layer of few units, and the cross-entropy of what it gives.

    Every tensor is dense and on the CPU.

    Args:
        library: compiled for these sizes.
        dtype: of all numbers.
    """

    def __init__(self, library: ctypes.CDLL, dtype: torch.dtype) -> None:
        self.library = library
        self.dtype = dtype

    def forward(
        self,
        x: Tensor,
        kept: Tensor | None,
        drawn: Tensor | None,
        least: int,
        scale: float,
        weight: Tensor,
        bias: Tensor,
    ) -> Tensor:
        """The logits: (n, units). `x` becomes the layer's input, in place.

        Args:
            x: (n, features).
            kept: a bit for each number of `x`, the lowest of a byte first: 0 drops it; or None.
            drawn: (n * features,) int64: less than `least` drops it; or None.
            least: of what keeps a number.
            scale: of what is kept.
            weight: (units, features).
            bias: (units,).
        """
        logits = torch.empty(len(x), len(weight), dtype=self.dtype)
        tensors = (x, kept, drawn, weight, bias, logits)
        kernel.call(self.library.forward, tensors, (scale, least), len(x))
        return logits

    def backward(
        self, hidden: Tensor, weight: Tensor, gradient: Tensor, scale: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The gradients of `x`, `weight` and the bias.

        Args:
            hidden: what `forward` made of `x`.
            weight: what `forward` was given.
            gradient: of the logits.
            scale: what `forward` was given.
        """
        to_x, to_weight = torch.empty_like(hidden), torch.empty_like(weight)
        to_bias = torch.empty(len(weight), dtype=self.dtype)
        tensors = (hidden, weight, gradient, to_x, to_weight, to_bias)
        kernel.call(self.library.backward, tensors, (scale,), len(hidden))
        return to_x, to_weight, to_bias

    def cross_entropy(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The mean loss, how many of the largest logits are the label's, and the loss's gradient.

        Args:
            logits: (n, units).
            labels: (n,) int64.
        """
        gradient = torch.empty_like(logits)
        loss = torch.empty((), dtype=self.dtype)
        right = torch.empty((), dtype=torch.int64)
        tensors = (logits, labels, gradient, loss, right)
        kernel.call(self.library.cross_entropy, tensors, (), len(logits))
        return loss, right, gradient


def suits(layers: Sequence[Layer], dtype: torch.dtype) -> bool:
    """Whether these are the layers of the kernel, from the ReLU to the network's last."""
    kinds = [layer.kind for layer in layers]
    return (
        kinds in (["relu", "linear"], ["relu", "dropout", "linear"])
        and layers[-1].input_shape[0] % FEATURES == 0
        and layers[-1].units <= MOST_UNITS
        and dtype in kernel.TYPES
    )


@cache
def find(linear: Layer, dtype: torch.dtype) -> OutputLayers | None:
    """The kernel for layers that suit, None (and a warning that says why) if it cannot be had here.

    Args:
        linear: the last of them.
        dtype: of all numbers.
    """
    [features] = linear.input_shape
    macros = {**kernel.macros(dtype, dtype), "FEATURES": features, "UNITS": linear.units}

    def make() -> OutputLayers:
        return OutputLayers(compiler.load(SOURCE, macros), dtype)

    return kernel.trusted(linear.name, make, lambda made: _agrees(made, linear))


def _agrees(made: OutputLayers, linear: Layer) -> bool:
    """Whether five images come out as with PyTorch's operations, forward and backward."""
    random = torch.Generator().manual_seed(0)
    [features] = linear.input_shape
    x = kernel.whole_numbers(random, made.dtype, 5, features)
    weight = kernel.whole_numbers(random, made.dtype, linear.units, features) / features
    bias = kernel.whole_numbers(random, made.dtype, linear.units)
    labels = torch.arange(5) % linear.units
    hidden = x.clone()
    logits = made.forward(hidden, None, None, 0, 1.0, weight, bias)
    loss, _, gradient = made.cross_entropy(logits, labels)
    found = made.backward(hidden, weight, gradient, 1.0)
    with torch.enable_grad():
        given = [tensor.requires_grad_() for tensor in (x, weight, bias)]
        expected = F.cross_entropy(F.linear(torch.relu(x), weight, bias), labels)
        wanted = torch.autograd.grad(expected, given)
    return kernel.close((loss, *found), (expected, *wanted))
