"""PyTorch's and Lightning's switches: documented public API, each a few lines."""

import ctypes
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from mnist_gpu.engines.base import EngineOptions
from mnist_gpu.engines.switches import Value, switched_on

# glibc's malloc.h; mallopt(3)
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES = 1 << 30


def possible(device: torch.device, world_size: int) -> dict[str, tuple[type, ...]]:
    """The switches there are on a kind of device, each with the types of its value."""
    names = ["channels_last", "compile", "resident_data"]
    if device.type in ("cpu", "cuda"):
        names.append("fused_adam")
    if device.type == "cpu" and sys.platform == "linux":
        names.append("keep_memory")
    # a capture of the sum of gradients between devices has not been tried
    if device.type == "cuda" and world_size == 1:
        names.append("cuda_graphs")
    return dict.fromkeys(sorted(names), (bool,))


def choose(
    options: EngineOptions, engine: str, device: torch.device, world_size: int
) -> dict[str, Value]:
    """The switches of this run.

    Raises:
        UserError: there is no such switch here.
    """
    return switched_on(options, engine, device.type, possible(device, world_size))


def prepare_process(switches: Mapping[str, Any]) -> None:
    """Take what concerns the whole process."""
    if switches.get("keep_memory"):
        keep_memory()


def prepare_network(switches: Mapping[str, Any], network: nn.Module) -> None:
    """Take what concerns the network, which is on its device by now."""
    if switches.get("channels_last"):
        network.to(memory_format=torch.channels_last)
    if switches.get("compile"):
        network.compile()


def adam_arguments(switches: Mapping[str, Any]) -> dict[str, Any]:
    """Of `torch.optim.Adam`, beside parameters and learning rate."""
    arguments = {"fused": "fused_adam", "capturable": "cuda_graphs"}
    return {name: True for name, switch in arguments.items() if switches.get(switch)}


def keep_memory() -> None:
    """Let malloc keep freed memory.

    glibc otherwise gives every large tensor back to the kernel, and each step pays for the page
    faults again. PyTorch's tuning guide names jemalloc and TCMalloc for the same reason.
    """
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
    libc.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
