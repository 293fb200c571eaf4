"""The project's own copy of MNIST, which mends itself.

Nothing in it is ever overwritten or deleted, whoever put it there: where a damaged file has the
name that is wanted, the good one lies beside it under a numbered name.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mnist_gpu.data import fetch, idx, mnist
from mnist_gpu.data.idx import IdxFile
from mnist_gpu.errors import UserError
from mnist_gpu.files import write_whole
from mnist_gpu.protocol.dataset import Dataset

MOST_COPIES = 10


def load(folder: Path, download: bool, announce: Callable[[str], None]) -> Dataset:
    """The published set from `folder`; what is missing or damaged there is fetched, file by file.

    Several processes may do so at once. A folder that cannot be written to is no error.

    Args:
        folder: holds the four files, or some of them, or does not exist.
        download: whether anything may be fetched.
        announce: told what is damaged, fetched, and why it cannot be kept.

    Raises:
        UserError: a file is not there and cannot be fetched; it names all that was tried.
    """
    files: dict[str, IdxFile] = {}
    missing: dict[str, str] = {}
    for name in mnist.PUBLISHED_SHA256:
        try:
            files[name] = _find(folder, name)
        except UserError as exc:
            missing[name] = str(exc)
    if missing and not download:
        raise UserError(
            f"data.download=false and {'; '.join(missing.values())}: name the folder of the four"
            " MNIST files in data.dir or MNIST_GPU_DATA, or use data=synthetic"
        )
    for complaint in missing.values() if files else ():
        announce(f"{complaint}: fetching it")
    keeps = True
    for name, file in fetch.fetch(list(missing), announce):
        files[name] = file
        try:
            if keeps:
                _keep(folder, name, file)
        except OSError as exc:
            announce(f"MNIST is used but not kept: {folder}: {exc.strerror or exc}")
            keeps = False
    return mnist.assemble(files, folder)


def _find(folder: Path, name: str) -> IdxFile:
    try:
        entries = sorted(os.listdir(folder))
    except OSError:
        entries = []
    paths = [folder / entry for entry in entries if entry.startswith(name)]
    if (file := mnist.first_good(paths, name, mnist.read_published)) is None:
        raise UserError(f"{folder}: {name} is missing")
    return file


def _keep(folder: Path, name: str, file: IdxFile) -> None:
    """Put the file into `folder`, whole or not at all, beside what is there."""
    for number in range(MOST_COPIES):
        target = folder / (f"{name}.{number}" if number else name)
        try:
            return write_whole(target, idx.header(file.array) + file.array.tobytes(), new=True)
        except FileExistsError:
            # another process may have been faster
            with suppress(UserError):
                mnist.read_published(target, name)
                return None
    raise OSError(f"{MOST_COPIES} damaged copies of {name} are there already")
