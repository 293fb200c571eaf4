"""The network in PyTorch's own layers, and its state under the names that every engine shares."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mnist_gpu.protocol.network import Layer, Network
from mnist_gpu.protocol.workload import State

MOMENTS = {"adam_m": "exp_avg", "adam_v": "exp_avg_sq"}


class MNISTNetwork(nn.Sequential):
    """Images (n, 1, 28, 28) to logits (n, 10): `nn.Conv2d`, `nn.ReLU`, `nn.MaxPool2d`,
    `nn.Dropout`, `nn.Flatten` and `nn.Linear` as they come.

    Parameters are named as in the protocol (`conv1.weight`), in PyTorch's layout.

    Attributes:
        kernels: names of this project's own kernels in it; stock has none.
    """

    kernels: Sequence[str] = ()

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


def take_state(network: MNISTNetwork, optimizer: Optimizer | None) -> State:
    """A copy on the host; moments are zero before the first step."""
    state: State = {"adam_step": np.array(0, dtype=np.int64)}
    for name, parameter in network.named_parameters():
        slots = optimizer.state.get(parameter, {}) if optimizer is not None else {}
        tensors = {"weights": parameter.detach()}
        for kind, slot in MOMENTS.items():
            tensors[kind] = slots.get(slot, torch.zeros_like(parameter))
        for kind, tensor in tensors.items():
            # in PyTorch's layout, so that any engine can go on from it
            neutral = network.to_neutral(name, tensor.cpu())
            state[f"{kind}/{name}"] = np.array(neutral.numpy(), order="C")
        if "step" in slots:
            state["adam_step"] = np.array(int(slots["step"]), dtype=np.int64)
    return state


@torch.no_grad()
def load_state(network: MNISTNetwork, optimizer: Optimizer | None, state: State) -> None:
    """Continue from `state`.

    In place where there is a place already: a captured CUDA graph keeps its addresses.
    """
    network.load({name: state[f"weights/{name}"] for name, _ in network.named_parameters()})
    if optimizer is None:
        return
    group = optimizer.param_groups[0]
    # Adam counts its steps on the device if it is fused or captured, else on the host
    on_device = group.get("fused") or group.get("capturable")
    for name, parameter in network.named_parameters():
        slots = optimizer.state[parameter]
        if not slots:
            device = parameter.device if on_device else "cpu"
            slots["step"] = torch.zeros((), dtype=torch.float32, device=device)
            # with the strides of the parameter, as the optimizer itself would make them
            slots.update({slot: torch.zeros_like(parameter) for slot in MOMENTS.values()})
        slots["step"].fill_(int(state["adam_step"]))
        for kind, slot in MOMENTS.items():
            array = torch.from_numpy(state[f"{kind}/{name}"])
            slots[slot].copy_(network.from_neutral(name, array))
