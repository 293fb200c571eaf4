"""A run's folder, its own from the first file on: `record.json`, `.hydra/`, `tensorboard/`,
`checkpoints/`, `train.log`. One process at a time works in it."""

import logging
import logging.handlers
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from mnist_gpu import files
from mnist_gpu.errors import UserError

with suppress(ImportError):  # Windows
    import fcntl

LOG_FORMAT = "[%(asctime)s][%(name)s][%(levelname)s] - %(message)s"
MOST_EARLY_LINES = 10_000


def refuse_used(folder: Path, whose: str = "run") -> None:
    """Refuse a folder that holds anything: what is there is somebody's.

    Raises:
        UserError: it names what the folder holds.
        OSError: it cannot be read.
    """
    with suppress(FileNotFoundError):
        if inside := os.listdir(folder):
            raise UserError(
                f"{folder}: holds {inside[0]} already, and a {whose} needs a folder of its own;"
                " choose a new one, or leave the choice to the program"
            )


def claim(folder: Path, texts: Mapping[str, str]) -> None:
    """Make an empty folder the run's, with `texts`, by file name, in its `.hydra/`.

    Raises:
        UserError: it holds something.
        OSError: it cannot be written to.
    """
    refuse_used(folder)
    # of two that found it empty, one makes this
    (folder / ".hydra").mkdir()
    for name, text in texts.items():
        files.write_whole(folder / ".hydra" / name, text.encode(), new=True)


def not_there(folder: Path) -> list[Path]:
    """The folder and those above it that are not there yet, the deepest first."""
    return [path for path in (folder, *folder.parents) if not os.path.lexists(path)]


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove folders that this process has made, as long as there is nothing in them."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the run's folder, made if missing, for the length of the block.

    The folder itself is locked, so that nothing of the lock stays behind in it, and the lock goes
    with the process. Windows and some network file systems know no such lock: nothing is held.

    Raises:
        UserError: another process holds it.
        OSError: it cannot be made.
    """
    handle = None
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(PermissionError):  # Windows opens no folders
        handle = os.open(folder, os.O_RDONLY)
    try:
        if handle is not None:
            _lock(handle, folder)
        yield
    finally:
        if handle is not None:
            os.close(handle)


def _lock(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(
            f"{folder}: another process is working on this run; wait for it to end"
        ) from None
    except (OSError, NameError):
        pass


def is_held(folder: Path) -> bool:
    """Whether a process is working in `folder` at this moment."""
    try:
        with held(folder):
            return False
    except (UserError, OSError):
        return True


@contextmanager
def run_log() -> Iterator[Callable[[Path], None]]:
    """Within the block, keep what is logged, held back until the run has a folder.

    Yields:
        A function that writes `train.log` into a folder from then on; a resumed run's has a
        number. It raises OSError where it cannot be made.
    """
    # no level is as high: it is emptied when there is a file, not before
    held_back = logging.handlers.MemoryHandler(MOST_EARLY_LINES, logging.CRITICAL + 1)

    def write_to(folder: Path) -> None:
        target = _LogFile(files.free(folder / "train.log"), "x", "utf-8")
        target.setFormatter(logging.Formatter(LOG_FORMAT))
        held_back.setTarget(target)
        held_back.flush()
        held_back.capacity = 1

    logging.getLogger().addHandler(held_back)
    try:
        yield write_to
    finally:
        logging.getLogger().removeHandler(held_back)
        if held_back.target is not None:
            with suppress(OSError):  # a full disk: what is not written yet is lost
                held_back.target.close()
        held_back.close()


class _LogFile(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """A full disk costs lines of the log, not the run."""
