"""Finding MLX's device."""

from dataclasses import dataclass
from typing import Any

import mlx.core as mx

from mnist_gpu.errors import UserError

POSSIBLE = {
    "cpu": ("float32", "float64"),
    "mps": ("float32", "bf16-mixed"),
    "cuda": ("tf32", "bf16-mixed"),
}
NAMES = {"mps": "the Metal GPU of Apple silicon", "cuda": "an NVIDIA GPU"}


@dataclass(frozen=True)
class Device:
    """A device: `cpu`, `mps` or `cuda`, MLX's handle of it, and what it calls itself."""

    kind: str
    handle: Any
    label: str


def choose(accelerator: str, precision: str) -> Device:
    """The device for `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        UserError: it is not there, or cannot do the precision; the message says what to use.
    """
    here = available()
    kind = next(iter(here)) if accelerator == "auto" else accelerator
    if kind not in here:
        raise UserError(
            f"platform.accelerator={accelerator}: this MLX does not see {NAMES[accelerator]};"
            " use platform=cpu instead"
        )
    if precision not in POSSIBLE[kind]:
        raise UserError(
            f"precision={precision}: with MLX on {kind} choose from {', '.join(POSSIBLE[kind])}"
        )
    return Device(kind, here[kind], _label(kind))


def available() -> dict[str, Any]:
    """Devices of this MLX by kind, the fastest first."""
    found: dict[str, Any] = {}
    if mx.metal.is_available():
        found["mps"] = mx.gpu
    elif hasattr(mx, "cuda") and mx.cuda.is_available():
        found["cuda"] = mx.gpu
    return {**found, "cpu": mx.cpu}


def _label(kind: str) -> str:
    if kind == "cpu" or not hasattr(mx, "device_info"):
        return kind
    return str(mx.device_info().get("device_name", kind))
