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
    from mnist_gpu.data import mnist

    source = config["source"]
    cache = Path(config.get("cache_dir") or mnist.default_cache()).expanduser()
    if source == "synthetic":
        return _synthetic(cache, announce)
    named = config.get("dir") or os.environ.get("MNIST_GPU_DATA")
    if named:
        return mnist.load(Path(named).expanduser(), bool(config.get("custom")))
    folder = cache / "mnist"
    if not mnist.has_files(folder):
        try:
            _download(folder, bool(config.get("download", True)), announce)
        except UserError as fault:
            if source != "auto":
                raise
            announce(f"NO MNIST: {fault}")
            announce("NO MNIST: training on drawn digits instead: same speed, other accuracy")
            return _synthetic(cache, announce)
    return mnist.load(folder)


def _download(folder: Path, allowed: bool, announce: Callable[[str], None]) -> None:
    from mnist_gpu.data import mnist

    if not allowed:
        raise UserError(
            "data.download=false and no files: name their folder in data.dir or MNIST_GPU_DATA"
        )
    mnist.download(folder, announce)


def _synthetic(cache: Path, announce: Callable[[str], None]) -> Dataset:
    from mnist_gpu.data import synthetic

    return synthetic.load(cache, announce)
