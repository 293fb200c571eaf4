"""Choosing Keras' backend and its device before Keras is imported."""

import importlib.util
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mnist_gpu.errors import UserError

BACKENDS = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}
EXTRAS = {"tensorflow": "keras", "jax": "jax", "torch": "keras"}
POLICIES = {
    "float32": "float32",
    "tf32": "float32",
    "bf16-mixed": "mixed_bfloat16",
    "float64": "float64",
}
POSSIBLE = {"cpu": ("float32", "bf16-mixed", "float64"), "cuda": tuple(POLICIES)}


@dataclass(frozen=True)
class Backend:
    """Keras' backend, and the device it computes on: `cpu` or `cuda`, and what it calls itself."""

    name: str
    kind: str
    label: str


def choose(settings: Mapping[str, Any], accelerator: str, precision: str) -> Backend:
    """Set the backend, its device and its switches.

    Raises:
        UserError: no such backend, not installed, another one is loaded in this process already,
            or its device is not there or cannot do the precision.
    """
    name = settings.get("backend", "tensorflow")
    if name not in BACKENDS:
        raise UserError(f"engine.backend={name}: choose from {', '.join(BACKENDS)}")
    if importlib.util.find_spec(BACKENDS[name]) is None:
        raise UserError(
            f"engine.backend={name} needs {BACKENDS[name]}, which is not installed:"
            f' pip install "mnist-gpu[{EXTRAS[name]}]"'
        )
    loaded = sys.modules.get("keras")
    if loaded is not None and loaded.backend.backend() != name:
        raise UserError(
            f"engine.backend={name}: Keras runs on {loaded.backend.backend()} in this process"
            " already; start another"
        )
    os.environ["KERAS_BACKEND"] = name
    if accelerator == "mps":
        raise UserError(
            "platform.accelerator=mps: Keras has no maintained backend for Metal;"
            " use engine=lightning, engine=mlx or platform=cpu instead"
        )
    backend = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}[name](
        accelerator, precision
    )
    if precision not in POSSIBLE[backend.kind]:
        raise UserError(
            f"precision={precision}: with Keras on {backend.kind}"
            f" choose from {', '.join(POSSIBLE[backend.kind])}"
        )
    return backend


def _tensorflow(accelerator: str, precision: str) -> Backend:
    from mnist_gpu.engines.tensorflow import device

    chosen = device.choose(accelerator)
    device.prepare(precision, chosen)
    return Backend("tensorflow", chosen.kind, chosen.label)


def _jax(accelerator: str, precision: str) -> Backend:
    import jax

    jax.config.update("jax_enable_x64", precision == "float64")
    if precision == "float32":
        # JAX rounds products to TF32 on newer GPUs unless told otherwise
        jax.config.update("jax_default_matmul_precision", "highest")
    kind = "cuda" if jax.default_backend() == "gpu" and accelerator != "cpu" else "cpu"
    _refuse(accelerator, kind, "JAX")
    device = jax.devices("gpu" if kind == "cuda" else "cpu")[0]
    jax.config.update("jax_default_device", device)
    return Backend("jax", kind, str(device.device_kind))


def _torch(accelerator: str, precision: str) -> Backend:
    import torch

    from mnist_gpu.measure import cpus

    torch.set_num_threads(cpus.threads())
    kind = "cuda" if torch.cuda.is_available() and accelerator != "cpu" else "cpu"
    _refuse(accelerator, kind, "PyTorch")
    # Keras asks for it when it is imported
    os.environ["KERAS_TORCH_DEVICE"] = kind
    if kind == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        torch.backends.cudnn.allow_tf32 = precision == "tf32"
    label = torch.cuda.get_device_name() if kind == "cuda" else "cpu"
    return Backend("torch", kind, label)


def _refuse(accelerator: str, kind: str, framework: str) -> None:
    if accelerator == "cuda" and kind != "cuda":
        raise UserError(
            f"platform.accelerator=cuda: no NVIDIA GPU that this {framework} can use;"
            " use platform=cpu instead"
        )
