"""Finding the device that was asked for, or saying what is there instead."""

import logging

import torch

from mnist_gpu.errors import UserError
from mnist_gpu.measure import gpus

log = logging.getLogger(__name__)
MISSING = {
    "cuda": "no NVIDIA GPU that this PyTorch can use",
    "mps": "no Metal GPU that this PyTorch can use (needs macOS on Apple silicon, native arm64)",
}


def available() -> list[str]:
    """Accelerators PyTorch can use here, the fastest first."""
    found = []
    if torch.cuda.is_available():
        found.append("cuda")
    if torch.backends.mps.is_available():
        found.append("mps")
    return [*found, "cpu"]


def choose(accelerator: str, count: int = 1) -> torch.device:
    """The device for `auto`, `cpu`, `cuda` or `mps`; the first of `count`.

    Raises:
        UserError: it is not there; the message says what to use instead.
    """
    here = available()
    chosen = here[0] if accelerator == "auto" else accelerator
    if chosen == "cuda" and chosen in here and count > torch.cuda.device_count():
        raise UserError(f"devices={count}: this machine has {torch.cuda.device_count()} GPUs")
    unfit = None
    if accelerator in ("auto", "cuda"):
        unfit = gpus.why_not(torch.version.cuda, "cuda" in here)
    if accelerator == "auto":
        if unfit:
            log.warning(unfit)
        return torch.device("cpu" if unfit else here[0])
    if accelerator not in here or unfit:
        use = "cpu" if unfit else here[0]
        raise UserError(
            f"platform.accelerator={accelerator}: {unfit or MISSING[accelerator]};"
            f" use platform={use} instead"
        )
    return torch.device(accelerator)
