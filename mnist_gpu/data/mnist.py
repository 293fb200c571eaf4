"""Finding, fetching and verifying MNIST."""

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from mnist_gpu.data import idx
from mnist_gpu.errors import UserError
from mnist_gpu.protocol.dataset import Dataset

# decompressed, in the order in which a data set's own digest is taken
PUBLISHED_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
LEAST_IMAGES = 64
CONNECT_S = 10.0
DOWNLOAD_S = 300.0


def load(directory: Path, custom: bool = False) -> Dataset:
    """Read the four files from `directory` and verify every one of them.

    Args:
        directory: holds them flat, or in torchvision's layout (`MNIST/raw/`), plain or gzipped.
        custom: whether a set that is not the published one is wanted; it is then named `custom`.

    Raises:
        UserError: a file is missing, damaged, swapped, or not the published one; it is named.
    """
    arrays = []
    published = True
    for name, sha256 in PUBLISHED_SHA256.items():
        path = _locate(directory, name)
        file = idx.read(path, 3 if "images" in name else 1)
        _check_values(path, file.array)
        if file.sha256 != sha256:
            published = False
            if not custom:
                raise UserError(
                    f"{path}: not the published MNIST file (SHA-256 {file.sha256[:12]}…, expected"
                    f" {sha256[:12]}…): damaged or swapped? data.custom=true uses it all the same"
                )
        arrays.append(file.array)
    for images, labels, part in (
        (arrays[0], arrays[1], "train"),
        (arrays[2], arrays[3], "t10k"),
    ):
        if len(images) != len(labels):
            raise UserError(
                f"{directory}: {part} has {len(images)} images but {len(labels)} labels"
            )
        if len(images) < LEAST_IMAGES:
            raise UserError(f"{directory}: {part} has {len(images)} images, at least 64 are needed")
    return Dataset("mnist" if published else "custom", idx.digest(arrays), *arrays)


def has_files(directory: Path) -> bool:
    """Whether all four files are there, good or bad."""
    try:
        return all(_locate(directory, name).exists() for name in PUBLISHED_SHA256)
    except UserError:
        return False


def download(directory: Path, announce: Callable[[str], None]) -> None:
    """Fetch the four files through torchvision, which knows mirrors and checksums.

    The files appear in `directory` all at once: a second run that starts meanwhile finds either
    none or all of them.

    Raises:
        UserError: no mirror answered in time.
    """
    from torchvision.datasets import MNIST

    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".mnist-", dir=directory.parent) as temporary:
        began = time.monotonic()
        for filename, md5 in MNIST.resources:
            announce(f"downloading {filename}")
            _fetch(MNIST.mirrors, filename, md5, Path(temporary), began + DOWNLOAD_S)
        fresh = Path(temporary) / "files"
        fresh.mkdir()
        for filename, _ in MNIST.resources:
            shutil.move(Path(temporary) / filename, fresh / filename)
        try:
            fresh.replace(directory)
        except OSError:
            # another run was faster
            if not has_files(directory):
                raise UserError(f"{directory}: cannot be written to") from None


def default_cache() -> Path:
    """Where downloads and drawn digits are kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "mnist_gpu"


def _fetch(mirrors: list[str], filename: str, md5: str, folder: Path, until: float) -> None:
    from torchvision.datasets.utils import download_url

    faults = []
    for mirror in mirrors:
        if time.monotonic() > until:
            faults.append(f"{DOWNLOAD_S:.0f} s are over")
            break
        try:
            with _bounded_wait():
                download_url(mirror + filename, str(folder), filename, md5)
            return
        except (OSError, RuntimeError) as fault:
            faults.append(str(fault).splitlines()[0])
    reasons = "; ".join(dict.fromkeys(faults))
    raise UserError(
        f"{filename}: cannot be downloaded ({reasons}): put the four MNIST files in a"
        " folder and name it in data.dir or MNIST_GPU_DATA, or use data=synthetic"
    )


@contextmanager
def _bounded_wait():  # type: ignore[no-untyped-def]
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(CONNECT_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _locate(directory: Path, name: str) -> Path:
    if not directory.is_dir():
        raise UserError(f"data.dir={directory}: no such folder")
    for folder in (directory, directory / "MNIST" / "raw", directory / "raw"):
        for candidate in (folder / name, folder / f"{name}.gz"):
            if candidate.exists():
                return candidate
    raise UserError(f"{directory}: {name}(.gz) is missing")


def _check_values(path: Path, array: "np.ndarray") -> None:
    if array.ndim == 3 and array.shape[1:] != (28, 28):
        raise UserError(f"{path}: images of {array.shape[1]}x{array.shape[2]}, not 28x28")
    if array.ndim == 1 and array.size and array.max() > 9:
        raise UserError(f"{path}: a label is {array.max()}, labels are 0 to 9")
