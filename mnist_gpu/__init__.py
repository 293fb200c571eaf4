"""A stopwatch for training hardware: one network, MNIST, 50 epochs, the same way everywhere."""

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mnist_gpu.version import __version__

if TYPE_CHECKING:
    from mnist_gpu.engines.lightning.data import MNISTDataModule
    from mnist_gpu.engines.lightning.module import MNISTModule
    from mnist_gpu.records.schema import Record
    from mnist_gpu.timing.callback import TimingCallback

__all__ = ["MNISTDataModule", "MNISTModule", "TimingCallback", "__version__", "run"]

# imported when somebody asks for them: each loads torch and lightning
_LAZY = {
    "MNISTDataModule": "mnist_gpu.engines.lightning.data",
    "MNISTModule": "mnist_gpu.engines.lightning.module",
    "TimingCallback": "mnist_gpu.timing.callback",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def run(overrides: Sequence[str] = ()) -> "Record":
    """Compose a configuration, train, write the record and return it.

    The same as `python -m mnist_gpu.train OVERRIDES`, any number of times in one process;
    `startup_s` counts from this call.

    Args:
        overrides: as on the command line, such as `["platform=cpu", "epochs=3"]`.

    Raises:
        UserError: a value is not allowed, the data or the accelerator is not there, or training
            failed; the message is one line.
    """
    from mnist_gpu.runs.app import run_once

    return run_once(overrides)
