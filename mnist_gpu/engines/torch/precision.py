"""What each precision of the protocol is in PyTorch's words, and where it is to be had."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch

from mnist_gpu.errors import UserError

POSSIBLE = {
    "cpu": ("float32", "bf16-mixed", "float64"),
    "cuda": ("float32", "tf32", "bf16-mixed", "16-mixed", "float64"),
    "mps": ("float32",),
}
AUTOCAST = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def prepare(name: str, device: torch.device) -> None:
    """Set PyTorch's switches for `name`.

    TF32 is PyTorch's default for convolutions on newer NVIDIA GPUs, and for the protocol a
    precision of its own.

    Raises:
        UserError: the device cannot do it; the message names what it can.
    """
    possible = POSSIBLE.get(device.type, ("float32",))
    if name not in possible:
        raise UserError(f"precision={name}: on {device.type} choose from {', '.join(possible)}")
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
        torch.backends.cudnn.allow_tf32 = name == "tf32"


def parameter_dtype(name: str) -> torch.dtype:
    """The type of parameters and moments."""
    return torch.float64 if name == "float64" else torch.float32


def autocast(name: str, device: torch.device) -> Callable[[], AbstractContextManager[Any]]:
    """Makes the context in which a forward pass and its loss are computed."""
    if name not in AUTOCAST:
        return nullcontext
    return partial(torch.autocast, device.type, AUTOCAST[name])


def deviations(name: str, device: torch.device) -> list[str]:
    """Where PyTorch's own default is set aside for this precision."""
    if device.type == "cuda" and name == "float32":
        return ["TF32 is off (PyTorch's default for convolutions on newer GPUs: on)"]
    return []
