"""What the published MNIST is, and reading it from a folder in any of the layouts people have."""

import hashlib
import io
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mnist_gpu.data import idx
from mnist_gpu.data.idx import IdxFile, NotPublishedError, inventory
from mnist_gpu.errors import UserError
from mnist_gpu.protocol.dataset import Dataset

# decompressed, in the order in which a data set's own digest is taken
PUBLISHED_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
# the same images as one archive, published by Keras (keras/src/datasets/mnist.py)
KERAS_FILE = "mnist.npz"
KERAS_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
KERAS_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
KERAS_MOST_BYTES = 20_000_000
# the largest file of another set: EMNIST's largest has 547 MB of images
CUSTOM_BYTES = 1_000_000_000
LEAST_IMAGES = 64
SIDE = 28
FOLDERS = (".", "MNIST/raw", "raw")
WANTED = f"wanted are the four IDX files, plain or .gz, or Keras' {KERAS_FILE}"


def load(directory: Path, custom: bool = False, named_by: str = "data.dir") -> Dataset:
    """Read the data set from `directory` and verify every file.

    Args:
        directory: holds the four IDX files plain or gzipped, flat, in torchvision's layout
            (`MNIST/raw/`) or in Kaggle's; or holds, or is, Keras' `mnist.npz`. Never written to.
        custom: whether a set that is not the published one is wanted; it is then named `custom`.
        named_by: which setting named the folder, for messages.

    Raises:
        UserError: a file is missing, damaged, swapped, or not the published one; it is named.
    """
    archive = directory if directory.suffix == ".npz" else directory / KERAS_FILE
    if directory == archive and os.path.isfile(archive):
        return _load_keras(archive)
    if not os.path.isdir(directory):
        what = f"a file, not a folder: {WANTED}" if os.path.exists(directory) else "no such folder"
        raise UserError(f"{named_by}={directory}: {what}")
    try:
        files = {name: _find(directory, name, custom) for name in PUBLISHED_SHA256}
        return assemble(files, directory)
    except UserError:
        if not os.path.isfile(archive):
            raise
        return _load_keras(archive)


def read_published(path: Path, name: str) -> IdxFile:
    """Read the file `path`; UserError where it is not the published one called `name`."""
    file = idx.read(path, item_shape(name), published_bytes(name))
    return _verified(file, name, str(path))


def parse_published(stream: BinaryIO, name: str, where: str) -> IdxFile:
    """Read likewise from a seekable stream; `where` names it in messages."""
    file = idx.parse(stream, where, item_shape(name), published_bytes(name))
    return _verified(file, name, where)


def default_cache() -> Path:
    """Where this program keeps things between runs; without a home, a path that cannot be made."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(base):
        return Path(base) / "mnist_gpu"
    try:
        return Path.home() / ".cache" / "mnist_gpu"
    except RuntimeError:
        return Path(os.devnull) / "mnist_gpu"


def published_bytes(name: str) -> int:
    """How long the published file called `name` is, decompressed."""
    items = 60_000 if name.startswith("train") else 10_000
    return 4 + 4 * (1 + len(item_shape(name))) + items * math.prod(item_shape(name))


def item_shape(name: str) -> tuple[int, ...]:
    """The shape of one item of the file called `name`."""
    return (SIDE, SIDE) if "images" in name else ()


def assemble(files: Mapping[str, IdxFile], source: Path) -> Dataset:
    """The data set of four files, called `mnist` if all are the published ones, else `custom`;
    UserError where images and labels do not go together, or are too few."""
    arrays = [files[name].array for name in PUBLISHED_SHA256]
    for part, images, labels in (("train", *arrays[:2]), ("t10k", *arrays[2:])):
        if len(images) != len(labels):
            raise UserError(f"{source}: {part} has {len(images)} images but {len(labels)} labels")
        if len(images) < LEAST_IMAGES:
            raise UserError(
                f"{source}: {part} has {len(images)} images, at least {LEAST_IMAGES} are needed"
            )
    # one file of another set makes it another set
    published = all(files[name].sha256 == sha for name, sha in PUBLISHED_SHA256.items())
    return Dataset("mnist" if published else "custom", idx.digest(arrays), *arrays)


def _find(directory: Path, name: str, custom: bool) -> IdxFile:
    read = _read_custom if custom else read_published
    try:
        if (file := first_good(_candidates(directory, name), name, read)) is not None:
            return file
    except NotPublishedError as exc:
        raise UserError(f"{exc}; data.custom=true uses it all the same") from None
    raise UserError(
        f"{directory}: {name}(.gz) is missing; the folder holds: {inventory(directory)}; {WANTED}"
    )


def first_good(
    paths: Iterable[Path], name: str, read: Callable[[Path, str], IdxFile]
) -> IdxFile | None:
    """The first of the files that is the one called `name`; None where there are no files, and the
    first one's UserError where none is."""
    first: UserError | None = None
    for path in paths:
        try:
            return read(path, name)
        except UserError as exc:
            first = first or exc
    if first is not None:
        raise first
    return None


def _read_custom(path: Path, name: str) -> IdxFile:
    file = idx.read(path, item_shape(name), CUSTOM_BYTES)
    if file.array.ndim == 1 and file.array.size and file.array.max() > 9:
        raise UserError(f"{path}: a label is {file.array.max()}, labels are 0 to 9")
    return file


def _verified(file: IdxFile, name: str, where: str) -> IdxFile:
    expected = PUBLISHED_SHA256[name]
    if file.sha256 != expected:
        raise NotPublishedError(
            f"{where}: not the published MNIST file (SHA-256 {file.sha256[:12]}…, expected"
            f" {expected[:12]}…): damaged or swapped?"
        )
    return file


def _load_keras(path: Path) -> Dataset:
    try:
        with path.open("rb") as file:
            content = file.read(KERAS_MOST_BYTES)
    except OSError as exc:
        raise UserError(f"{path}: cannot be read: {exc.strerror}") from None
    # before it is opened: an archive could unpack to any size
    if hashlib.sha256(content).hexdigest() != KERAS_SHA256:
        raise UserError(f"{path}: not the {KERAS_FILE} that Keras publishes: {WANTED}")
    files = {}
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        for name, key in zip(PUBLISHED_SHA256, KERAS_ARRAYS, strict=True):
            array = np.ascontiguousarray(archive[key])
            files[name] = _verified(IdxFile(array, idx.digest([array])), name, f"{path}: {key}")
    return assemble(files, path)


def _candidates(directory: Path, name: str) -> Iterator[Path]:
    """Where the file called `name` may be, by the layouts of torchvision and of Kaggle, whose set
    has `train-images.idx3-ubyte` and folders that are called as the file in them."""
    names = [name, name.replace("-idx", ".idx")]
    names += [f"{name}.gz" for name in names]
    for folder in FOLDERS:
        for outer in (directory / folder / name for name in names):
            inner = [outer / name for name in names] if os.path.isdir(outer) else [outer]
            yield from filter(os.path.lexists, inner)
