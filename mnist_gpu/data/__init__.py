"""Getting the data set a configuration asks for, once for all processes of a run on a machine."""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mnist_gpu.errors import UserError
from mnist_gpu.protocol.dataset import Dataset

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
READY = "dataset.json"
WAIT_S = 300.0


def load(config: Mapping[str, Any], announce: Callable[[str], None] = print) -> Dataset:
    """Find or make the data set, verified, in memory.

    Args:
        config: `source` (mnist, synthetic or auto), `dir` (a folder or None: then the environment's
            `MNIST_GPU_DATA`, then the cache), `download`, `cache_dir`, `custom`; see `conf/data/`.
        announce: told what takes time or is not what one might think.

    Raises:
        UserError: the data cannot be had or is not what it should be; the message names the file.
    """
    try:
        found = None if config["source"] == "synthetic" else _mnist(config, announce)
        if found is None:
            from mnist_gpu.data import synthetic

            announce("drawing 70,000 digits")
            found = synthetic.draw()
        return found
    except MemoryError:
        raise UserError(
            "out of memory while reading the data set: it takes some 200 MB; is there a limit"
            " (ulimit -v, a container's, a batch job's)?"
        ) from None


def _mnist(config: Mapping[str, Any], announce: Callable[[str], None]) -> Dataset | None:
    """The set in the folder that is named, or in the cache; None where `auto` does without."""
    from mnist_gpu.data import fetch, mnist

    named = {"data.dir": config.get("dir"), "MNIST_GPU_DATA": os.environ.get("MNIST_GPU_DATA")}
    for named_by, value in named.items():
        if value:
            return mnist.load(folder_of(value, named_by), bool(config.get("custom")), named_by)
    cache_dir = config.get("cache_dir")
    folder = folder_of(cache_dir, "data.cache_dir") if cache_dir else mnist.default_cache()
    try:
        return fetch.load(folder / "mnist", bool(config.get("download", True)), announce)
    except UserError as exc:
        if config["source"] != "auto":
            raise
        announce(f"NO MNIST: {exc}")
        announce("NO MNIST: training on drawn digits instead: same speed, other accuracy")
        return None


def folder_of(value: str, named_by: str) -> Path:
    """The folder that somebody named, `~` included.

    Raises:
        UserError: nobody knows whose home folder is meant.
    """
    try:
        return Path(value).expanduser()
    except RuntimeError:
        raise UserError(
            f"{named_by}={value}: whose home folder ~ is, is not known here; write the path in full"
        ) from None


@contextmanager
def published(dataset: Dataset, folder: Path) -> Iterator[None]:
    """Within the block, `folder` holds the data set for the other processes to map; UserError where
    it cannot be made, or is somebody else's."""
    try:
        # what a killed run of the same name left
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
        # whole files that are mapped: a copy for each process would be 55 MB
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
    """Map the data set that another process publishes in `folder`, once it is there; UserError
    where it does not come, or another user made the folder."""
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
