"""Getting the data set a configuration asks for."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mnist_gpu.errors import UserError
from mnist_gpu.protocol.dataset import Dataset


def load(config: Mapping[str, Any], announce: Callable[[str], None] = print) -> Dataset:
    """Find or make the data set, verified, in memory.

    Args:
        config: `source` (mnist, synthetic or auto), `dir` (a folder or None: then the environment's
            `MNIST_GPU_DATA`, then the cache), `download`, `cache_dir`, `custom`; see `conf/data/`.
        announce: told what takes time or is not what one might think.

    Raises:
        UserError: the data cannot be had or is not what it should be; the message names the file.
    """
    from mnist_gpu.data import synthetic

    try:
        found = None if config["source"] == "synthetic" else _mnist(config, announce)
        if found is None:
            announce("drawing 70,000 digits")
        return found or synthetic.draw()
    except MemoryError:
        raise UserError(
            "out of memory while reading the data set: it takes some 200 MB; is there a limit"
            " (ulimit -v, a container's, a batch job's)?"
        ) from None


def _mnist(config: Mapping[str, Any], announce: Callable[[str], None]) -> Dataset | None:
    """The set in the folder that is named, or in the cache; None where `auto` does without."""
    from mnist_gpu.data import cache, mnist

    named = {"data.dir": config.get("dir"), "MNIST_GPU_DATA": os.environ.get("MNIST_GPU_DATA")}
    for named_by, value in named.items():
        if value:
            return mnist.load(_path(value, named_by), bool(config.get("custom")), named_by)
    cache_dir = config.get("cache_dir")
    folder = _path(cache_dir, "data.cache_dir") if cache_dir else mnist.default_cache()
    try:
        return cache.load(folder / "mnist", bool(config.get("download", True)), announce)
    except UserError as exc:
        if config["source"] != "auto":
            raise
        announce(f"NO MNIST: {exc}")
        announce("NO MNIST: training on drawn digits instead: same speed, other accuracy")
        return None


def _path(value: str, named_by: str) -> Path:
    try:
        return Path(value).expanduser()
    except RuntimeError:
        raise UserError(
            f"{named_by}={value}: whose home folder ~ is, is not known here; write the path in full"
        ) from None
