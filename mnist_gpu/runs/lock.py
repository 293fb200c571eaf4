"""One process at a time works in a run's folder; the lock goes with the process that holds it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mnist_gpu.errors import UserError
from mnist_gpu.files import trouble

with suppress(ImportError):  # Windows
    import fcntl


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the run's folder, made if missing, for the length of the block.

    The folder itself is locked, so that nothing of the lock stays behind in it.

    Raises:
        UserError: another process holds it, or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = _lock(folder)
    except BlockingIOError:
        raise UserError(
            f"{folder}: another process is working on this run; wait for it to end"
        ) from None
    except OSError as exc:
        raise UserError(trouble(exc)) from None
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def is_held(folder: Path) -> bool:
    """Whether a process is working in `folder` at this moment."""
    try:
        handle = _lock(folder)
    except BlockingIOError:
        return True
    if handle is not None:
        os.close(handle)
    return False


def _lock(folder: Path) -> int | None:
    """A locked handle, or None where there are no locks.

    Raises:
        BlockingIOError: another has it.
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise
    except (OSError, NameError):  # Windows, and some network file systems
        os.close(handle)
        return None
    return handle
