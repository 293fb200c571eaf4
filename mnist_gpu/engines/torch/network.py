"""The network in PyTorch's own layers, under the names that every engine shares."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, nn

from mnist_gpu.protocol.network import Layer, Network


class MNISTNetwork(nn.Sequential):
    """Images (n, 1, 28, 28) to logits (n, 10): `nn.Conv2d`, `nn.ReLU`, `nn.MaxPool2d`,
    `nn.Dropout`, `nn.Flatten` and `nn.Linear` as they come.

    Parameters are named as in the protocol (`conv1.weight`), in PyTorch's layout.
    """

    @torch.no_grad()
    def load(self, weights: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take over weights by name, in PyTorch's layout, in the type the parameters have."""
        for name, parameter in self.named_parameters():
            parameter.copy_(self.from_neutral(name, torch.from_numpy(weights[name])))

    def to_neutral(self, name: str, tensor: Tensor) -> Tensor:
        """A parameter or one of its moments in PyTorch's layout; here it is in it already."""
        return tensor

    def from_neutral(self, name: str, tensor: Tensor) -> Tensor:
        """From PyTorch's layout to that of the parameter `name`."""
        return tensor


def build_network(network: Network) -> MNISTNetwork:
    """The layers of `network`, initialised by PyTorch until weights are loaded."""
    modules = OrderedDict(
        (layer.name or f"{layer.kind}{number}", build_module(layer))
        for number, layer in enumerate(network.layers)
    )
    return MNISTNetwork(modules)


def build_module(layer: Layer) -> nn.Module:
    """PyTorch's own module for one layer of the protocol."""
    match layer.kind:
        case "conv":
            channels = layer.input_shape[0]
            return nn.Conv2d(channels, layer.filters, layer.kernel, padding=layer.padding)
        case "relu":
            return nn.ReLU()
        case "max_pool":
            return nn.MaxPool2d(layer.size)
        case "dropout":
            return nn.Dropout(layer.rate)
        case "flatten":
            return nn.Flatten()
        case _:
            return nn.Linear(layer.input_shape[0], layer.units)
