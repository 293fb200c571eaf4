"""One process at a time works in a run's folder; the lock goes with the process that holds it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mnist_gpu.errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the run's folder, made if missing, for the length of the block.

    Raises:
        UserError: another process holds it, or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise UserError(f"{folder}: cannot be made ({fault.strerror})") from None
    handle = _lock(folder)
    if handle == _TAKEN:
        raise UserError(f"{folder}: another process is working on this run; wait for it to end")
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def is_held(folder: Path) -> bool:
    """Whether a process is working in `folder` at this moment."""
    handle = _lock(folder)
    if handle is not None and handle != _TAKEN:
        os.close(handle)
    return handle == _TAKEN


_TAKEN = -1


def _lock(folder: Path) -> int | None:
    """The locked handle, or that it is taken, or None where there are no locks."""
    if fcntl is None:
        return None
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return _TAKEN
    except OSError:  # some network file systems have no locks
        os.close(handle)
        return None
    return handle
