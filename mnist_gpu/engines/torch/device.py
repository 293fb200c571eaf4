"""The device that was asked for, and the precisions it can compute in."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch

from mnist_gpu.errors import UserError
from mnist_gpu.measure import gpus

log = logging.getLogger(__name__)
MISSING = {
    "cuda": "no NVIDIA GPU that this PyTorch can use",
    "mps": "no Metal GPU that this PyTorch can use (needs macOS on Apple silicon, native arm64)",
}
PRECISIONS = {
    "cpu": ("float32", "bf16-mixed", "float64"),
    "cuda": ("float32", "tf32", "bf16-mixed", "16-mixed", "float64"),
    "mps": ("float32",),
}
AUTOCAST = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def choose(accelerator: str, count: int = 1) -> torch.device:
    """The device for `auto`, `cpu`, `cuda` or `mps`; the first of `count`.

    Raises:
        UserError: it is not there; the message says what to use instead.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    # the fastest kind first
    here = [*(kind for kind, found in there.items() if found), "cpu"]
    unfit = None
    if accelerator in ("auto", "cuda"):
        unfit = gpus.why_not(torch.version.cuda, there["cuda"])
    fastest = "cpu" if unfit else here[0]
    if accelerator == "auto":
        if unfit:
            log.warning(unfit)
        accelerator = fastest
    elif accelerator not in here or unfit:
        raise UserError(
            f"platform.accelerator={accelerator}: {unfit or MISSING[accelerator]};"
            f" use platform={fastest} instead"
        )
    if accelerator == "cuda" and count > torch.cuda.device_count():
        raise UserError(f"devices={count}: this machine has {torch.cuda.device_count()} GPUs")
    return torch.device(accelerator)


def set_precision(name: str, device: torch.device) -> None:
    """Set PyTorch's switches for `name`.

    Raises:
        UserError: the device cannot do it; the message names what it can.
    """
    possible = PRECISIONS.get(device.type, ("float32",))
    if name not in possible:
        raise UserError(f"precision={name}: on {device.type} choose from {', '.join(possible)}")
    if device.type == "cuda":
        # TF32 is PyTorch's default for convolutions, and for the protocol a precision of its own
        torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
        torch.backends.cudnn.allow_tf32 = name == "tf32"


def parameter_dtype(name: str) -> torch.dtype:
    """The type of parameters and moments in the precision `name`."""
    return torch.float64 if name == "float64" else torch.float32


def autocast(name: str, device: torch.device) -> Callable[[], AbstractContextManager[Any]]:
    """Makes the context in which a forward pass and its loss are computed."""
    if name not in AUTOCAST:
        return nullcontext
    return partial(torch.autocast, device.type, AUTOCAST[name])
