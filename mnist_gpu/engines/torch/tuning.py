"""The speed measures that do not change the mathematics, each with a switch, each recorded."""

import ctypes
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mnist_gpu.errors import UserError

# glibc's malloc.h
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES = 1 << 30

KERNELS = ("first_convolution", "pooled_convolution", "sparse_linear", "output_layers")
SWITCHES = (
    "keep_memory",
    "relu_after_pool",
    "fused_adam",
    *KERNELS,
    "onednn_linear",
    "dropout_bits",
    "cuda_graphs",
)


def prepare(
    asked: Mapping[str, Any], device: torch.device, products: torch.dtype, alone: bool = True
) -> dict[str, bool]:
    """Decide every measure (`null`: where it helps) and take those that concern the process.

    Args:
        asked: switch -> true, false or null.
        device: what is trained on.
        products: the type in which products are computed.
        alone: whether no other device trains along. A capture of the all-reduce between devices has
            not been tried, so there are no graphs then.

    Raises:
        UserError: an unknown switch, or a value that is none of these.
    """
    for name, value in asked.items():
        if name not in SWITCHES:
            raise UserError(f"engine.tuning.{name}: no such measure; there are {SWITCHES}")
        if value not in (True, False, None):
            raise UserError(f"engine.tuning.{name}={value}: true, false or null")
    helps = {
        "keep_memory": device.type == "cpu" and sys.platform == "linux",
        "relu_after_pool": True,
        "fused_adam": device.type in ("cpu", "cuda"),
        **dict.fromkeys(KERNELS, device.type == "cpu" and sys.platform == "linux"),
        "onednn_linear": device.type == "cpu"
        and products != torch.float64
        and _amd()
        and _has_onednn_linear(),
        "dropout_bits": device.type != "mps",
        "cuda_graphs": device.type == "cuda" and alone,
    }
    taken = {name: helps[name] and asked.get(name) is not False for name in SWITCHES}
    if taken["keep_memory"]:
        taken["keep_memory"] = keep_memory()
    return taken


def keep_memory() -> bool:
    """Let malloc keep freed memory: glibc otherwise returns every large tensor to the kernel, and
    each step pays for the page faults again. Says whether it could be done."""
    try:
        libc = ctypes.CDLL(None)
        taken = libc.mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
        return bool(taken and libc.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES))
    except (OSError, AttributeError):
        return False


def _amd() -> bool:
    """MKL, behind PyTorch's plain products, is at its best on Intel's processors alone."""
    try:
        return "AuthenticAMD" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False


def _has_onednn_linear() -> bool:
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
