"""Finding the device that was asked for, or saying what is there instead."""

import torch

from mnist_gpu.errors import UserError

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
    if accelerator == "auto":
        return torch.device(here[0])
    if accelerator not in here:
        raise UserError(
            f"platform.accelerator={accelerator}: {MISSING[accelerator]};"
            f" use platform={here[0]} instead"
        )
    return torch.device(accelerator)
