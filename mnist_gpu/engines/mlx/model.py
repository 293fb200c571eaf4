"""The network in MLX's own layers, and the loss that trains it."""

from collections.abc import Callable, Iterator
from math import e
from typing import Any

import mlx.core as mx
from mlx import nn
from mlx.utils import tree_map
from typing_extensions import override

from mnist_gpu.protocol.network import Network


def build(network: Network, exact: bool) -> nn.Sequential:
    """The layers of `network` from (n, 28, 28, 1) to (n, 10) logits, with MLX's own weights;
    `exact` where float64 is to be computed as such."""
    return nn.Sequential(*_layers(network, ExactConv2d if exact else nn.Conv2d))


def _layers(
    network: Network, convolution: type[nn.Conv2d]
) -> Iterator[Callable[[mx.array], mx.array]]:
    for layer in network.layers:
        match layer.kind:
            case "conv":
                channels = layer.input_shape[0]
                yield convolution(channels, layer.filters, layer.kernel, padding=layer.padding)
            case "linear":
                yield nn.Linear(layer.input_shape[0], layer.units)
            case "relu":
                yield nn.ReLU()
            case "max_pool":
                yield nn.MaxPool2d(layer.size)
            case "dropout":
                yield nn.Dropout(layer.rate)
            case "flatten":
                yield lambda x: x.flatten(1)


class ExactConv2d(nn.Conv2d):
    """A convolution as a sum of matrix products; MLX's own is as good as float32's on a CPU."""

    @override
    def __call__(self, x: mx.array) -> mx.array:
        vertical, horizontal = self.padding
        x = mx.pad(x, [(0, 0), (vertical, vertical), (horizontal, horizontal), (0, 0)])
        _, height, width, _ = self.weight.shape
        rows, columns = x.shape[1] - height + 1, x.shape[2] - width + 1
        return self.bias + sum(
            x[:, i : i + rows, j : j + columns] @ self.weight[:, i, j].T
            for i in range(height)
            for j in range(width)
        )


def in_bfloat16(model: nn.Module, images: mx.array) -> mx.array:
    """Logits in float32, all layers in bfloat16; the weights stay as they are."""
    weights = model.parameters()
    model.update(tree_map(lambda weight: weight.astype(mx.bfloat16), weights))
    logits = model(images.astype(mx.bfloat16)).astype(mx.float32)
    model.update(weights)
    return logits


def cross_entropy(logits: mx.array, labels: mx.array) -> mx.array:
    """Mean over the batch: (n, 10), (n,) to a scalar."""
    if logits.dtype != mx.float64:
        return nn.losses.cross_entropy(logits, labels, reduction="mean")
    # MLX's exp of a float64 is as good as a float32's, its power is exact
    top = mx.stop_gradient(mx.max(logits, axis=1, keepdims=True))
    powers = mx.power(mx.array(e, dtype=mx.float64), logits - top)
    scores = mx.take_along_axis(logits - top, labels[:, None], axis=1)
    return mx.mean(mx.log(powers.sum(axis=1, keepdims=True)) - scores)


def placed(array: Any) -> mx.array:
    """A NumPy array as MLX's, its type kept; MLX would make a float64 a float32."""
    return mx.array(array, dtype=mx.float64) if array.dtype == "float64" else mx.array(array)
