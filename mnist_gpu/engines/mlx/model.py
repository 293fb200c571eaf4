"""The network in MLX's own layers, and the loss that trains it."""

from collections.abc import Callable, Iterator
from math import e
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_map

from mnist_gpu.protocol.network import Network


def build(network: Network) -> nn.Sequential:
    """The layers of `network` from (n, 28, 28, 1) to (n, 10) logits, with MLX's own weights."""
    return nn.Sequential(*_layers(network))


def _layers(network: Network) -> Iterator[Callable[[mx.array], mx.array]]:
    for layer in network.layers:
        match layer.kind:
            case "conv":
                channels = layer.input_shape[0]
                yield nn.Conv2d(channels, layer.filters, layer.kernel, padding=layer.padding)
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
