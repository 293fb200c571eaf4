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
from mnist_gpu.engines.torch.native import bfloat16_linear, first_convolution, pooled_convolution
from mnist_gpu.engines.torch.native.kernel import Kernel
from mnist_gpu.models.network import Layer


@dataclass(frozen=True)
class Group:
    """Layers that a kernel does at once.

    Attributes:
        layer: the first of them, which has weights.
        length: how many they are.
        step: from the pass's context and the layer's module.
    """

    layer: Layer
    length: int
    step: Callable[[Context, Any], Step]


def group(layers: Sequence[Layer], context: Context, first: bool) -> Group | None:
    """The layers at the beginning of `layers` that one kernel can do, if there are any; `first`
    says whether none before them has weights."""
    # where something narrower is asked for, sums are float32, and the backward pass is: it does
    # little, and not in an order that a processor has narrower products for
    dtype = torch.promote_types(context.compute_dtype, torch.float32)
    layer, *rest = [*layers[:4], *[Layer("end")] * 3]
    if layer.kind == "linear":
        return None if first else _linear(layer, context)
    find = _first if first else _pooled
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


def _linear(layer: Layer, context: Context) -> Group | None:
    if context.compute_dtype != torch.bfloat16 or not context.bfloat16_linear:
        return None
    kernel = bfloat16_linear.find(layer) if bfloat16_linear.suits(layer) else None
    return Group(layer, 1, partial(Bfloat16Linear, kernel)) if kernel else None


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
        gradient = gradient.to(self.kernel.dtype)
        self.weight.grad, self.bias.grad = self.kernel.backward(
            self.x, self.weight, self.output, gradient
        )


class PooledConv(KernelStep[pooled_convolution.PooledConvolution]):
    """A convolution, max-pool, ReLU and dropout; never the network's first, whose input has too few
    channels."""

    def __init__(
        self,
        kernel: pooled_convolution.PooledConvolution,
        rate: float,
        context: Context,
        module: Any,
    ) -> None:
        super().__init__(kernel, context, module)
        self.rate = rate
        self.scale = 1.0 / (1.0 - rate)

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
        gradient = gradient.to(self.kernel.dtype)
        to_x, self.weight.grad, self.bias.grad = self.kernel.backward(
            self.x, self.weight, gradient, self.winners, self.scale
        )
        return to_x


class Bfloat16Linear(KernelStep[bfloat16_linear.Bfloat16Linear]):
    """A fully connected layer with products of bfloat16; float32 comes out, both ways."""

    @override
    def forward(self, x: Tensor) -> Tensor:
        self.x = x.to(torch.bfloat16)
        return self.kernel.forward(self.x, self.weight, self.bias)

    @override
    def backward(self, gradient: Tensor) -> Tensor:
        gradient = gradient.float()
        to_x, self.weight.grad = self.kernel.backward(self.x, self.weight, gradient)
        self.bias.grad = gradient.sum(0)
        return to_x


def used(steps: Sequence[Step]) -> dict[str, bool]:
    """By switch (`tuning`), whether one of `steps` is its."""
    switches = {
        "first_convolution": FirstConv,
        "pooled_convolution": PooledConv,
        "bfloat16_linear": Bfloat16Linear,
    }
    return {
        switch: any(isinstance(step, kind) for step in steps) for switch, kind in switches.items()
    }
