"""The network in PyTorch, laid out for speed, with its weights in the neutral layout outside."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist_gpu.engines.torch import fused, layers
from mnist_gpu.protocol.network import Layer, Network, relu_after_pool
from mnist_gpu.protocol.workload import Weights


class TorchNetwork(nn.Module):
    """Channels-last all the way: the flatten is taken in that order and the weights after it are
    permuted to match. ReLU comes after the max-pool (the same values and gradients, a quarter of
    the work).

    `forward` is the network without dropout, for evaluation and for anybody's autograd;
    `training_pass` gives the steps of the fast training pass over the same parameters. Parameter
    names are the network's own (`conv1.weight`).

    Args:
        network: the layers.
        dtype: of the parameters.
        relu_last: whether ReLU trades places with a max-pool after it.
    """

    def __init__(self, network: Network, dtype: torch.dtype, relu_last: bool = True) -> None:
        super().__init__()
        self.layers = relu_after_pool(network.layers) if relu_last else list(network.layers)
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
                linear = nn.Linear(layer.input_shape[0], layer.units, dtype=dtype)
                self.add_module(layer.name, linear)
                if shape is not None and shape[0] > 1:
                    self.flattened[f"{layer.name}.weight"] = shape
                shape = None

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, 10) of normalised images (n, 1, 28, 28), dropout off."""
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
        return x

    def training_pass(self, context: layers.Context, dropout: bool = True) -> list[layers.Step]:
        """The layers of the fast training pass over this network's parameters."""
        steps: list[layers.Step] = []
        pool: layers.MaxPool | None = None
        rest = [layer for layer in self.layers if dropout or layer.kind != "dropout"]
        before: list[Layer] = []
        rest.append(Layer("end"))
        while len(rest) > 1:
            group = fused.group(rest, context, before)
            length = group.length if group else 1
            first = not any(layer.weight_shape for layer in before)
            layer, after, *_ = rest
            before, rest = before + rest[:length], rest[length:]
            if group:
                steps.append(group.step(context, self.get_submodule(group.layer.name)))
                continue
            match layer.kind:
                case "conv":
                    pool = layers.MaxPool(context, after.size) if after.kind == "max_pool" else None
                    module: Any = self.get_submodule(layer.name)
                    steps.append(layers.Conv(context, module, layer.padding, first, pool))
                case "linear":
                    module = self.get_submodule(layer.name)
                    steps.append(layers.Linear(context, module, first))
                case "max_pool":
                    steps.append(pool or layers.MaxPool(context, layer.size))
                    pool = None
                case "relu":
                    steps.append(layers.ReLU(context))
                case "dropout" if layer.rate:
                    steps.append(layers.Dropout(context, layer.rate))
                case "flatten":
                    steps.append(layers.Flatten(context))
        return steps

    def load(self, weights: Weights) -> None:
        """Take over weights in the neutral layout."""
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                parameter.copy_(self.from_neutral(name, weights[name]))

    def to_neutral(self, name: str, tensor: Tensor) -> npt.NDArray[Any]:
        """A parameter, or its moments, as a NumPy array in PyTorch's channel-first layout."""
        array = tensor.detach().cpu().numpy()
        if name in self.flattened:
            channels, height, width = self.flattened[name]
            array = array.reshape(-1, height, width, channels).transpose(0, 3, 1, 2)
        return np.array(array.reshape(tensor.shape), order="C", copy=True)

    def from_neutral(self, name: str, array: npt.NDArray[Any]) -> Tensor:
        """The other way round."""
        if name in self.flattened:
            permuted = array.reshape(-1, *self.flattened[name]).transpose(0, 2, 3, 1)
            array = permuted.reshape(array.shape)
        return torch.from_numpy(np.array(array, order="C", copy=True))
