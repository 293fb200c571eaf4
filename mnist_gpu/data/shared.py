"""One machine's data set for all processes of a run there: read and verified once."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from mnist_gpu.errors import UserError
from mnist_gpu.protocol.dataset import Dataset

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
READY = "dataset.json"
WAIT_S = 300.0


@contextmanager
def published(dataset: Dataset, folder: Path) -> Iterator[None]:
    """Within the block, `folder` holds the data set for the other processes to map.

    Raises:
        UserError: the folder cannot be made, or is somebody else's.
    """
    try:
        # what a killed run of the same name left
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
        for name in ARRAYS:
            np.save(folder / f"{name}.npy", getattr(dataset, name))
        # the last to appear: whoever sees it finds the arrays whole
        partial = folder / f".{READY}"
        partial.write_text(json.dumps({"name": dataset.name, "sha256": dataset.sha256}))
        partial.rename(folder / READY)
    except OSError as exc:
        raise UserError(f"the data cannot be shared between processes: {exc.strerror}") from None
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def attached(folder: Path, wait_s: float = WAIT_S) -> Dataset:
    """Map the data set that another process publishes in `folder`, once it is there.

    Raises:
        UserError: it does not come, or another user made the folder.
    """
    end = time.monotonic() + wait_s
    while not (folder / READY).exists():
        if time.monotonic() > end:
            raise UserError("the first process of this run did not hand out the data")
        time.sleep(0.05)
    # another user could have put other arrays there
    if folder.stat().st_uid != os.getuid():
        raise UserError("the shared data belong to another user")
    about = json.loads((folder / READY).read_text())
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS}
    return Dataset(str(about["name"]), str(about["sha256"]), **arrays)


def is_even(world: int, batch_size: int, n: int) -> bool:
    """Whether `world` devices can share every batch of `batch_size` out of `n` images evenly, the
    last and smaller one included: then the mean of their gradients is that of the batch."""
    return batch_size % world == 0 and (n % batch_size) % world == 0
