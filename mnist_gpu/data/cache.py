"""The project's own copy of MNIST, which mends itself.

Nothing in it is ever overwritten or deleted, whoever put it there: where a damaged file has the
name that is wanted, the good one lies beside it under a numbered name.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from mnist_gpu.data import fetch, idx, mnist
from mnist_gpu.data.idx import IdxFile
from mnist_gpu.errors import UserError
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
    if files:
        for complaint in missing.values():
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
    complaint = UserError(f"{folder}: {name} is missing")
    try:
        entries = sorted(os.listdir(folder))
    except OSError:
        entries = []
    for entry in entries:
        if not entry.startswith(name):
            continue
        try:
            return mnist.read_published(folder / entry, name)
        except UserError as exc:
            complaint = exc
    raise complaint


def _keep(folder: Path, name: str, file: IdxFile) -> None:
    """Put the file into `folder`, whole or not at all, beside what is there."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{uuid4().hex}.partial"
    try:
        with partial.open("xb") as output:
            output.write(idx.header(file.array))
            output.write(file.array.data)
        for number in range(MOST_COPIES):
            if _place(partial, folder / (f"{name}.{number}" if number else name), name):
                return
        raise OSError(f"{MOST_COPIES} damaged copies of {name} are there already")
    finally:
        partial.unlink(missing_ok=True)


def _place(partial: Path, target: Path, name: str) -> bool:
    """Whether a good file is at `target` now: this one, or another process' that was faster."""
    try:
        os.link(partial, target)
        return True
    except FileExistsError:
        pass
    except OSError:  # a file system without hard links
        if not os.path.lexists(target):
            partial.rename(target)
            return True
    with suppress(UserError):
        mnist.read_published(target, name)
        return True
    return False
