"""The network in PyTorch, laid out for speed, with its weights in the neutral layout outside."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from mnist_gpu.engines.base import Weights
from mnist_gpu.models.network import Layer, Network


class TorchNetwork(nn.Module):
    """Channels-last all the way: the flatten is taken in that order and the weights after it are
    permuted to match. ReLU comes after the max-pool (the same values and gradients, a quarter of
    the work).

    Parameter names are the network's own (`conv1.weight`).
    """

    def __init__(self, network: Network, dtype: torch.dtype) -> None:
        super().__init__()
        self.layers = relu_after_pool(network.layers)
        self.flattened: dict[str, tuple[int, ...]] = {}
        shape: tuple[int, ...] | None = None
        for layer in self.layers:
            if layer.kind == "conv":
                channels = layer.input_shape[0]
                block: nn.Module = nn.Conv2d(
                    channels, layer.filters, layer.kernel, padding=layer.padding, dtype=dtype
                )
                self.add_module(layer.name, block.to(memory_format=torch.channels_last))
            elif layer.kind == "flatten":
                shape = layer.input_shape
            elif layer.kind == "linear":
                self.add_module(
                    layer.name, nn.Linear(layer.input_shape[0], layer.units, dtype=dtype)
                )
                if shape is not None and shape[0] > 1:
                    self.flattened[f"{layer.name}.weight"] = shape
                shape = None

    def forward(self, images: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        """Logits (n, 10) of images (n, 1, 28, 28); dropout draws from `generator`, None: off."""
        x = images
        for layer in self.layers:
            match layer.kind:
                case "conv" | "linear":
                    x = self.get_submodule(layer.name)(x)
                case "relu":
                    x = F.relu(x)
                case "max_pool":
                    x = F.max_pool2d(x, layer.size)
                case "flatten":
                    x = x.permute(0, 2, 3, 1).reshape(len(x), -1)
                case "dropout":
                    if generator is not None and layer.rate:
                        keep = torch.rand(x.shape, generator=generator, device=x.device)
                        x = x * (keep >= layer.rate) * (1.0 / (1.0 - layer.rate))
        return x

    def load(self, weights: Weights) -> None:
        """Take over weights in the neutral layout."""
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                parameter.copy_(self.from_neutral(name, weights[name]))

    def to_neutral(self, name: str, tensor: torch.Tensor) -> npt.NDArray[Any]:
        """A parameter, or its moments, as a NumPy array in PyTorch's channel-first layout."""
        array = tensor.detach().cpu().numpy()
        if name in self.flattened:
            channels, height, width = self.flattened[name]
            array = array.reshape(-1, height, width, channels).transpose(0, 3, 1, 2)
        return np.array(array.reshape(tensor.shape), order="C", copy=True)

    def from_neutral(self, name: str, array: npt.NDArray[Any]) -> torch.Tensor:
        """The other way round."""
        if name in self.flattened:
            permuted = array.reshape(-1, *self.flattened[name]).transpose(0, 2, 3, 1)
            array = permuted.reshape(array.shape)
        return torch.from_numpy(np.array(array, order="C", copy=True))


def relu_after_pool(layers: tuple[Layer, ...]) -> list[Layer]:
    """Swap every ReLU that is followed by a max-pool with it: both are monotonic."""
    swapped = list(layers)
    for position in range(len(swapped) - 1):
        if swapped[position].kind == "relu" and swapped[position + 1].kind == "max_pool":
            swapped[position : position + 2] = swapped[position + 1], swapped[position]
    return swapped
