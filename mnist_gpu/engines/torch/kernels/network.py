"""The open division's network: the stock one, with kernels of this project's own in places."""

import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from typing_extensions import override

from mnist_gpu.engines.torch.kernels import (
    dropout,
    first_convolution,
    pooled_convolution,
    sparse_linear,
)
from mnist_gpu.engines.torch.kernels.functions import (
    FirstConvolutionFunction,
    PooledConvolutionFunction,
    SparseLinearFunction,
)
from mnist_gpu.engines.torch.network import MNISTNetwork, build_module
from mnist_gpu.protocol.layout import flattened_before
from mnist_gpu.protocol.network import Layer, Network, comes_from_relu, relu_after_pool


class OpenNetwork(MNISTNetwork):
    """The same mathematics; images stay channels-last from the first convolution to the flatten.

    So the features of the layer after the flatten come in another order than PyTorch's, and its
    weight is permuted to match; `to_neutral` and `from_neutral` undo that.

    Args:
        modules: by the names of the layers.
        flattened: by weight name, the (channels, height, width) flattened before it.
        kernels: names of the kernels in it.
    """

    def __init__(
        self,
        modules: "OrderedDict[str, nn.Module]",
        flattened: dict[str, tuple[int, ...]],
        kernels: list[str],
    ) -> None:
        super().__init__(modules)
        self.flattened = flattened
        self.kernels = kernels

    @override
    def to_neutral(self, name: str, tensor: Tensor) -> Tensor:
        if self._is_transposed(name):
            tensor = tensor.t()
        if name not in self.flattened:
            return tensor
        channels, height, width = self.flattened[name]
        features = tensor.reshape(-1, height, width, channels)
        return features.permute(0, 3, 1, 2).reshape(tensor.shape)

    @override
    def from_neutral(self, name: str, tensor: Tensor) -> Tensor:
        if name in self.flattened:
            features = tensor.reshape(-1, *self.flattened[name])
            tensor = features.permute(0, 2, 3, 1).reshape(tensor.shape)
        return tensor.t() if self._is_transposed(name) else tensor

    def _is_transposed(self, name: str) -> bool:
        layer, _, part = name.rpartition(".")
        return part == "weight" and isinstance(self.get_submodule(layer), SparseLinearLayer)


class FirstConvolutionLayer(nn.Conv2d):
    """The network's first convolution and the ReLU after it."""

    def __init__(self, layer: Layer, kernel: first_convolution.FirstConvolution) -> None:
        super().__init__(1, layer.filters, layer.kernel, dtype=kernel.dtype)
        self.kernel = kernel

    @override
    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = FirstConvolutionFunction.apply(x, self.weight, self.bias, self.kernel)
        return output


class PooledConvolutionLayer(nn.Conv2d):
    """A convolution, max-pool, ReLU and dropout; never the network's first, whose input has too few
    channels."""

    def __init__(
        self, layer: Layer, rate: float, kernel: pooled_convolution.PooledConvolution
    ) -> None:
        super().__init__(layer.input_shape[0], layer.filters, layer.kernel, dtype=kernel.dtype)
        # the kernel reads the weight filter by filter, channels last
        self.weight.data = self.weight.data.contiguous(memory_format=torch.channels_last)
        self.rate = rate
        self.kernel = kernel

    @override
    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.kernel.image_dtype, memory_format=torch.channels_last)
        keep, scale = None, 1.0
        if self.training and self.rate:
            keep = dropout.keep_bits(len(x) * math.prod(self.kernel.output_shape), self.rate)
            scale = 1.0 / (1.0 - self.rate)
        output: Tensor = PooledConvolutionFunction.apply(
            x, self.weight, self.bias, keep, scale, self.kernel
        )
        return output


class ChannelsLastFlatten(nn.Module):
    """Images as they lie in memory, without a copy."""

    @override
    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).reshape(len(x), -1)


class SparseLinearLayer(nn.Module):
    """A fully connected layer on the output of a ReLU.

    The kernel reads the weight feature by feature, so it is kept as (features, units), contiguous:
    PyTorch's fused Adam copies anything else back and forth.
    """

    def __init__(self, layer: Layer, kernel: sparse_linear.SparseLinear) -> None:
        super().__init__()
        features = layer.input_shape[0]
        self.weight = nn.Parameter(torch.empty(features, layer.units, dtype=kernel.dtype))
        self.bias = nn.Parameter(torch.empty(layer.units, dtype=kernel.dtype))
        self.kernel = kernel

    @override
    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.kernel.input_dtype)
        output: Tensor = SparseLinearFunction.apply(x, self.weight.t(), self.bias, self.kernel)
        return output


def build_open_network(network: Network, dtype: torch.dtype, bfloat16: bool) -> OpenNetwork:
    """The layers of `network`, kernels where they can be had.

    Args:
        network: the layers.
        dtype: of the parameters.
        bfloat16: whether images and what is multiplied may be rounded to that.
    """
    layers = relu_after_pool(network.layers)
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    kernels: list[str] = []
    position = 0
    while position < len(layers):
        layer = layers[position]
        made = _kernel_layer(layers[position:], layers[:position], dtype, bfloat16)
        module, length = made or (_plain(layer), 1)
        if made:
            kernels.append(f"{type(module.kernel).__module__.rpartition('.')[2]}")
        modules[layer.name or f"{layer.kind}{position}"] = module
        position += length
    return OpenNetwork(modules, flattened_before(network), kernels)


def _kernel_layer(
    layers: Sequence[Layer], before: Sequence[Layer], dtype: torch.dtype, bfloat16: bool
) -> tuple[nn.Module, int] | None:
    """A module that does the first of `layers` in one kernel, and how many they are."""
    layer, after, then, last = [*layers, *[Layer("end")] * 3][:4]
    first = not any(other.weight_shape for other in before)
    if first and first_convolution.supports(layer, after, dtype):
        kernel = first_convolution.load_verified(layer, dtype, bfloat16)
        return (FirstConvolutionLayer(layer, kernel), 2) if kernel else None
    if not first and pooled_convolution.supports(layer, after, then, dtype):
        pooled = pooled_convolution.load_verified(layer, dtype, bfloat16)
        drop = last.kind == "dropout" and dropout.in_few_bits(last.rate)
        rate = last.rate if drop else 0.0
        return (PooledConvolutionLayer(layer, rate, pooled), 3 + drop) if pooled else None
    if layer.kind == "linear" and comes_from_relu(before) and sparse_linear.supports(layer, dtype):
        linear = sparse_linear.load_verified(layer, dtype, bfloat16)
        return (SparseLinearLayer(layer, linear), 1) if linear else None
    return None


def _plain(layer: Layer) -> nn.Module:
    return ChannelsLastFlatten() if layer.kind == "flatten" else build_module(layer)
