"""Keras' backend and its device, chosen before Keras is imported."""

import importlib.util
import os
import sys

from mnist_gpu.errors import UserError
from mnist_gpu.measure import cpus

EXTRAS = {"tensorflow": "keras", "jax": "jax", "torch": "keras"}
POLICIES = {
    "float32": "float32",
    "bf16-mixed": "mixed_bfloat16",
    "float64": "float64",
    "tf32": "float32",
}
POSSIBLE = {"cpu": ("float32", "bf16-mixed", "float64"), "cuda": tuple(POLICIES)}


def choose(name: str, accelerator: str, precision: str) -> tuple[str, str, int]:
    """Set Keras' backend, the device and whether products may be rounded to TF32.

    Returns:
        The kind of device (`cpu` or `cuda`), what it calls itself, and the threads that the backend
        computes with on a CPU, by its own default.

    Raises:
        UserError: no such backend, not installed, another one is loaded in this process already,
            or its device is not there or cannot do the precision.
    """
    if name not in EXTRAS:
        raise UserError(f"engine.backend={name}: choose from {', '.join(EXTRAS)}")
    for package in ("keras", name):
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"engine.backend={name} needs {package}, which is not installed:"
                f' pip install "mnist-gpu[{EXTRAS[name]}]"'
            )
    # Keras reads its backend once, at its import
    loaded = sys.modules.get("keras")
    if loaded is not None and loaded.backend.backend() != name:
        raise UserError(
            f"engine.backend={name}: Keras runs on {loaded.backend.backend()} in this process"
            " already; start another"
        )
    os.environ["KERAS_BACKEND"] = name
    # TensorFlow's own log is no part of a run's output
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    set_device = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}[name]
    kind, label, threads = set_device(accelerator in ("cuda", "auto"), precision)
    if accelerator not in ("auto", kind):
        raise UserError(
            f"platform.accelerator={accelerator}: no such device that Keras on {name} can use here;"
            " use platform=cpu (or on a Mac engine=lightning or engine=mlx) instead"
        )
    # after the device is known: what it can do depends on it
    if precision not in POSSIBLE[kind]:
        raise UserError(
            f"precision={precision}: with {name} on {kind} choose from {', '.join(POSSIBLE[kind])}"
        )
    return kind, label, threads


def _tensorflow(gpu: bool, precision: str) -> tuple[str, str, int]:
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if gpus and not gpu:
        try:
            # TensorFlow would otherwise take the GPU's whole memory, whatever it computes on
            tf.config.set_visible_devices([], "GPU")
        except RuntimeError:
            raise UserError(
                "platform.accelerator=cpu: TensorFlow computes on the GPU in this process already;"
                " start another"
            ) from None
    tf.config.experimental.enable_tensor_float_32_execution(precision == "tf32")
    threads = tf.config.threading.get_intra_op_parallelism_threads() or len(cpus.allowed())
    if not (gpus and gpu):
        return "cpu", "cpu", threads
    details = tf.config.experimental.get_device_details(gpus[0])
    return "cuda", details.get("device_name", "GPU"), threads


def _jax(gpu: bool, precision: str) -> tuple[str, str, int]:
    import jax

    # without it JAX makes float32 of every float64
    jax.config.update("jax_enable_x64", precision == "float64")
    products = "highest" if precision == "float32" else None
    jax.config.update("jax_default_matmul_precision", products)
    kind = "cuda" if jax.default_backend() == "gpu" and gpu else "cpu"
    device = jax.devices("gpu" if kind == "cuda" else "cpu")[0]
    jax.config.update("jax_default_device", device)
    return kind, str(device.device_kind), len(cpus.allowed())


def _torch(gpu: bool, precision: str) -> tuple[str, str, int]:
    import torch

    kind = "cuda" if torch.cuda.is_available() and gpu else "cpu"
    # Keras asks for it when it is imported
    os.environ["KERAS_TORCH_DEVICE"] = kind
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    label = torch.cuda.get_device_name() if kind == "cuda" else "cpu"
    return kind, label, torch.get_num_threads()
