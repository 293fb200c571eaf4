"""Layers, or several as one, of the training pass on our own kernels."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic

import torch
from torch import Tensor
from typing_extensions import override

from mnist_gpu.engines.torch import dropout
from mnist_gpu.engines.torch.layers import Context, Step
from mnist_gpu.engines.torch.native import (
    first_convolution,
    output_layers,
    pooled_convolution,
    sparse_linear,
)
from mnist_gpu.engines.torch.native.kernel import Kernel
from mnist_gpu.protocol.network import Layer, comes_from_relu


@dataclass(frozen=True)
class Group:
    """Layers that a kernel does at once.

    Attributes:
        layer: the one of them that has weights.
        length: how many they are.
        step: from the pass's context and that layer's module.
    """

    layer: Layer
    length: int
    step: Callable[[Context, Any], Step]


def group(layers: Sequence[Layer], context: Context, before: Sequence[Layer]) -> Group | None:
    """The layers at the beginning of `layers` that one kernel can do, if there are any; `before`
    are those before them."""
    # where something narrower is asked for, sums are float32, and all gradients are
    dtype = torch.promote_types(context.compute_dtype, torch.float32)
    layer, *rest = [*layers[:4], *[Layer("end")] * 3]
    if layer.kind == "relu":
        return _output([part for part in layers if part.kind != "end"], context, dtype)
    if layer.kind == "linear":
        return _linear(layer, context, dtype) if comes_from_relu(before) else None
    find = _pooled if any(other.weight_shape for other in before) else _first
    return find(layer, rest, context, dtype)


def _first(conv: Layer, rest: list[Layer], context: Context, dtype: torch.dtype) -> Group | None:
    if not context.first_convolution or not first_convolution.suits(conv, rest[0], dtype):
        return None
    kernel = first_convolution.find(conv, dtype, context.compute_dtype == torch.bfloat16)
    return Group(conv, 2, partial(FirstConv, kernel)) if kernel else None


def _pooled(conv: Layer, rest: list[Layer], context: Context, dtype: torch.dtype) -> Group | None:
    pool, relu, after, *_ = rest
    if not context.pooled_convolution or not pooled_convolution.suits(conv, pool, relu, dtype):
        return None
    kernel = pooled_convolution.find(conv, dtype, context.compute_dtype == torch.bfloat16)
    drop = after.kind == "dropout" and context.dropout_bits and dropout.in_few_bits(after.rate)
    rate = after.rate if drop else 0.0
    return Group(conv, 3 + drop, partial(PooledConv, kernel, rate)) if kernel else None


def _linear(layer: Layer, context: Context, dtype: torch.dtype) -> Group | None:
    if not context.sparse_linear or not sparse_linear.suits(layer, dtype):
        return None
    kernel = sparse_linear.find(layer, dtype, context.compute_dtype == torch.bfloat16)
    return Group(layer, 1, partial(SparseLinear, kernel)) if kernel else None


def _output(layers: Sequence[Layer], context: Context, dtype: torch.dtype) -> Group | None:
    rate = next((layer.rate for layer in layers if layer.kind == "dropout"), 0.0)
    drawable = context.dropout_bits or not rate
    if not context.output_layers or not drawable or not output_layers.suits(layers, dtype):
        return None
    kernel = output_layers.find(layers[-1], dtype)
    return Group(layers[-1], len(layers), partial(OutputLayers, kernel, rate)) if kernel else None


class KernelStep(Step, Generic[Kernel]):
    """A step whose work a kernel does.

    Args:
        kernel: made for the layer.
        context: of the pass.
        module: the layer's weights and bias.
    """

    def __init__(self, kernel: Kernel, context: Context, module: Any) -> None:
        super().__init__(context)
        self.kernel = kernel
        self.weight, self.bias = module.weight, module.bias


class FirstConv(KernelStep[first_convolution.FirstConvolution]):
    """The network's first convolution and the ReLU after it."""

    @override
    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        self.output = self.kernel.forward(x, self.weight, self.bias)
        return self.output

    @override
    def backward(self, gradient: Tensor) -> None:
        gradient = gradient.to(self.kernel.image_dtype)
        self.weight.grad, self.bias.grad = self.kernel.backward(
            self.x, self.weight, self.output, gradient
        )


class DropoutStep(KernelStep[Kernel]):
    """A step whose kernel does a dropout too.

    Args:
        kernel: made for the layer.
        rate: the probability of a zero.
        context: of the pass.
        module: the layer's weights and bias.
    """

    def __init__(self, kernel: Kernel, rate: float, context: Context, module: Any) -> None:
        super().__init__(kernel, context, module)
        self.rate = rate
        self.scale = 1.0 / (1.0 - rate)


class PooledConv(DropoutStep[pooled_convolution.PooledConvolution]):
    """A convolution, max-pool, ReLU and dropout; never the network's first, whose input has too few
    channels."""

    @override
    def forward(self, x: Tensor) -> Tensor:
        self.x = x.to(self.kernel.image_dtype, memory_format=torch.channels_last)
        kept = None
        if self.rate:
            [generator] = self.context.generators
            count = len(x) * math.prod(self.kernel.output_shape)
            kept = dropout.kept_bits(count, self.rate, generator)
        output, self.winners = self.kernel.forward(self.x, self.weight, self.bias, kept, self.scale)
        return output

    @override
    def backward(self, gradient: Tensor) -> Tensor:
        gradient = gradient.to(self.kernel.image_dtype)
        to_x, self.weight.grad, self.bias.grad = self.kernel.backward(
            self.x, self.weight, gradient, self.winners, self.scale
        )
        return to_x


class SparseLinear(KernelStep[sparse_linear.SparseLinear]):
    """A fully connected layer on the output of a ReLU. It lays the weights out anew in memory, so
    it has to be made before an optimizer is."""

    def __init__(self, kernel: sparse_linear.SparseLinear, context: Context, module: Any) -> None:
        super().__init__(kernel, context, module)
        self.weight.data = sparse_linear.lay_out(self.weight.data)

    @override
    def forward(self, x: Tensor) -> Tensor:
        self.x = x.to(self.kernel.input_dtype)
        return self.kernel.forward(self.x, self.weight, self.bias)

    @override
    def backward(self, gradient: Tensor) -> Tensor:
        gradient = gradient.to(self.kernel.dtype)
        to_x, self.weight.grad = self.kernel.backward(self.x, self.weight, gradient)
        self.bias.grad = gradient.sum(0)
        return to_x


class OutputLayers(DropoutStep[output_layers.OutputLayers]):
    """ReLU, dropout and the network's last layer, whose weights are so few that nothing would be
    gained by rounding them."""

    @override
    def forward(self, x: Tensor) -> Tensor:
        self.hidden = x.to(self.kernel.dtype)
        kept = drawn = None
        if self.rate:
            [generator] = self.context.generators
            if dropout.in_few_bits(self.rate):
                kept = dropout.kept_bits(x.numel(), self.rate, generator)
            else:
                drawn = dropout.words(x.numel(), generator)
        least = dropout.threshold(self.rate)
        return self.kernel.forward(
            self.hidden, kept, drawn, least, self.scale, self.weight, self.bias
        )

    @override
    def backward(self, gradient: Tensor) -> Tensor:
        to_x, self.weight.grad, self.bias.grad = self.kernel.backward(
            self.hidden, self.weight, gradient, self.scale
        )
        return to_x


class CrossEntropy:
    """`layers.CrossEntropy` on a kernel, which finds the gradient along with the loss."""

    def __init__(self, kernel: output_layers.OutputLayers) -> None:
        self.kernel = kernel

    def forward(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The mean loss over the batch, and the number of right answers."""
        loss, right, self.gradient = self.kernel.cross_entropy(logits, labels)
        return loss, right

    def backward(self, loss_gradient: Tensor) -> Tensor:
        """The gradient of the logits."""
        return self.gradient * loss_gradient


def loss_after(steps: Sequence[Step]) -> CrossEntropy | None:
    """The loss on the kernel of the last of `steps`, if it has one for it."""
    last = steps[-1]
    return CrossEntropy(last.kernel) if isinstance(last, OutputLayers) else None


def used(steps: Sequence[Step]) -> dict[str, bool]:
    """By switch (`tuning`), whether one of `steps` is its."""
    switches = {
        "first_convolution": FirstConv,
        "pooled_convolution": PooledConv,
        "sparse_linear": SparseLinear,
        "output_layers": OutputLayers,
    }
    return {
        switch: any(isinstance(step, kind) for step in steps) for switch, kind in switches.items()
    }
