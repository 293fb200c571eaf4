"""A convolution with the layers around it as one layer of the training pass, on our own kernel."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from mnist_gpu.engines.torch import dropout
from mnist_gpu.engines.torch.layers import Context, Step
from mnist_gpu.engines.torch.native import pooled_convolution
from mnist_gpu.models.network import Layer


@dataclass(frozen=True)
class Group:
    """Layers that the kernel does at once.

    Attributes:
        conv: the convolution.
        kernel: made for it.
        rectify: whether the first of them is a ReLU before the convolution.
        rate: of the dropout at the end, 0 for none.
        length: how many layers they are.
    """

    conv: Layer
    kernel: pooled_convolution.PooledConvolution
    rectify: bool
    rate: float
    length: int


def group(layers: Sequence[Layer], context: Context) -> Group | None:
    """The layers at the beginning of `layers` that one kernel can do, if there are any: ReLU
    (or not), convolution, max-pool, ReLU, dropout (or not)."""
    rectify = layers[0].kind == "relu"
    conv, pool, relu, after = [*layers[rectify:], *[Layer("end")] * 4][:4]
    # what is narrower than float32 is computed in float32: there is less to compute here
    dtype = torch.promote_types(context.compute_dtype, torch.float32)
    if not context.pooled_convolution or not pooled_convolution.suits(conv, pool, relu, dtype):
        return None
    kernel = pooled_convolution.find(conv, dtype)
    if kernel is None:
        return None
    drop = after.kind == "dropout" and context.dropout_bits and dropout.in_bytes(after.rate)
    return Group(conv, kernel, rectify, after.rate if drop else 0.0, 3 + rectify + drop)


class PooledConv(Step):
    """A group; never the network's first convolution, whose input has too few channels.

    Args:
        context: of the pass.
        module: the convolution's weights (channels-last) and bias.
        group: what is done.
    """

    def __init__(self, context: Context, module: Any, group: Group) -> None:
        super().__init__(context)
        self.weight, self.bias = module.weight, module.bias
        self.kernel, self.rectify, self.rate = group.kernel, group.rectify, group.rate
        self.threshold = dropout.threshold(group.rate)

    @override
    def forward(self, x: Tensor) -> Tensor:
        if self.rectify:
            x = torch.relu_(x)
        self.dtype = x.dtype
        self.x = x.to(self.kernel.dtype, memory_format=torch.channels_last)
        random = None
        if self.threshold:
            [generator] = self.context.generators
            random = dropout.random_bits(self.kernel.output(len(x)), self.rate, generator)
        self.pooled, self.winners = self.kernel.forward(
            self.x, self.weight, self.bias, random, self.threshold
        )
        return self.pooled

    @override
    def backward(self, gradient: Tensor) -> Tensor:
        to_x, self.weight.grad, self.bias.grad = self.kernel.backward(
            self.x,
            self.weight,
            gradient.to(self.kernel.dtype),
            self.pooled,
            self.winners,
            self.threshold,
            self.rectify,
        )
        return to_x.to(self.dtype)
