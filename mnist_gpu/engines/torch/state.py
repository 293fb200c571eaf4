"""Weights and Adam's moments between PyTorch and the layout that every engine shares."""

import numpy as np
import torch
from torch.optim import Optimizer

from mnist_gpu.engines.torch.network import MNISTNetwork
from mnist_gpu.protocol.workload import State

MOMENTS = {"adam_m": "exp_avg", "adam_v": "exp_avg_sq"}


def take_state(network: MNISTNetwork, optimizer: Optimizer | None) -> State:
    """A copy on the host; moments are zero before the first step."""
    state: State = {}
    steps_made = 0
    for name, parameter in network.named_parameters():
        state[f"weights/{name}"] = _array(network, name, parameter)
        kept = optimizer.state.get(parameter, {}) if optimizer is not None else {}
        for kind, slot in MOMENTS.items():
            moment = kept.get(slot, torch.zeros_like(parameter))
            state[f"{kind}/{name}"] = _array(network, name, moment)
        steps_made = int(kept["step"]) if "step" in kept else steps_made
    return {"adam_step": np.array(steps_made, dtype=np.int64), **state}


@torch.no_grad()
def load_state(network: MNISTNetwork, optimizer: Optimizer | None, state: State) -> None:
    """Continue from `state`.

    In place where there is a place already: a captured CUDA graph keeps its addresses.
    """
    for name, parameter in network.named_parameters():
        parameter.copy_(network.from_neutral(name, torch.from_numpy(state[f"weights/{name}"])))
        if optimizer is None:
            continue
        if not state["adam_step"]:
            _forget(optimizer, parameter)
            continue
        slots = optimizer.state[parameter]
        if "step" not in slots:
            slots["step"] = _step_counter(optimizer, parameter)
        slots["step"].fill_(int(state["adam_step"]))
        for kind, slot in MOMENTS.items():
            # with the strides of the parameter, as the optimizer itself would make it
            moment = slots.setdefault(slot, torch.zeros_like(parameter))
            moment.copy_(network.from_neutral(name, torch.from_numpy(state[f"{kind}/{name}"])))


def _forget(optimizer: Optimizer, parameter: torch.Tensor) -> None:
    for slot in optimizer.state.get(parameter, {}).values():
        slot.zero_()


def _step_counter(optimizer: Optimizer, parameter: torch.Tensor) -> torch.Tensor:
    """Adam counts on the device if it is fused or captured, else on the host."""
    group = optimizer.param_groups[0]
    on_device = bool(group.get("fused") or group.get("capturable"))
    return torch.zeros((), dtype=torch.float32, device=parameter.device if on_device else "cpu")


def _array(network: MNISTNetwork, name: str, tensor: torch.Tensor) -> np.ndarray:
    neutral = network.to_neutral(name, tensor.detach().cpu())
    return np.array(neutral.numpy(), order="C", copy=True)
