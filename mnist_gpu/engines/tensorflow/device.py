"""Finding TensorFlow's device and setting its switches; shared with Keras on TensorFlow."""

import logging
import os
from dataclasses import dataclass

from mnist_gpu.errors import UserError
from mnist_gpu.measure import cpus

# standard output is the run's own
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf

log = logging.getLogger(__name__)

POSSIBLE = {
    "cpu": ("float32", "bf16-mixed", "float64"),
    "cuda": ("float32", "tf32", "bf16-mixed", "float64"),
}


@dataclass(frozen=True)
class Device:
    """A device: `cpu` or `cuda`, TensorFlow's name for it, and what it calls itself."""

    kind: str
    name: str
    label: str


def choose(accelerator: str) -> Device:
    """The device for `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        UserError: it is not there; the message says what to use instead.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if accelerator == "mps":
        raise UserError(
            "platform.accelerator=mps: TensorFlow has no maintained support for Metal;"
            " use engine=lightning, engine=mlx or platform=cpu instead"
        )
    if accelerator == "cuda" and not gpus:
        raise UserError(
            "platform.accelerator=cuda: no NVIDIA GPU that this TensorFlow can use"
            " (its GPU libraries come with pip install 'tensorflow[and-cuda]');"
            " use platform=cpu instead"
        )
    if accelerator == "cpu" or not gpus:
        return Device("cpu", "/CPU:0", "cpu")
    details = tf.config.experimental.get_device_details(gpus[0])
    return Device("cuda", "/GPU:0", details.get("device_name", "GPU"))


def prepare(precision: str, device: Device) -> None:
    """Set threads and precision switches.

    Raises:
        UserError: the device cannot do the precision; the message names what it can.
    """
    possible = POSSIBLE[device.kind]
    if precision not in possible:
        raise UserError(
            f"precision={precision}: with TensorFlow on {device.kind}"
            f" choose from {', '.join(possible)}"
        )
    # TensorFlow rounds products to TF32 unless told otherwise
    tf.config.experimental.enable_tensor_float_32_execution(precision == "tf32")
    try:
        tf.config.threading.set_intra_op_parallelism_threads(cpus.threads())
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        log.debug("TensorFlow has started: its threads stay as they are")
    for gpu in tf.config.list_physical_devices("GPU"):
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except (RuntimeError, ValueError):
            log.debug("TensorFlow has started: its memory policy stays as it is")
