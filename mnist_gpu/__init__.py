"""A stopwatch for training hardware: one network, MNIST, 50 epochs, the same way everywhere."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnist_gpu.records.schema import Record

__version__ = "0.1.0"


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
    from mnist_gpu.runs.call import run_once

    return run_once(overrides)
