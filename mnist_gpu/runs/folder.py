"""A run's folder, its own from the first file on: `record.json`, `.hydra/`, `tensorboard/`,
`checkpoints/`, `train.log`."""

import logging
import logging.handlers
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from mnist_gpu import files
from mnist_gpu.errors import UserError

LOG_FORMAT = "[%(asctime)s][%(name)s][%(levelname)s] - %(message)s"
MOST_EARLY_LINES = 10_000


def refuse_used(folder: Path, whose: str = "run") -> None:
    """Refuse a folder that holds anything: what is there is somebody's.

    Raises:
        UserError: it names what the folder holds.
    """
    try:
        with os.scandir(folder) as entries:
            held = next(entries, None)
    except FileNotFoundError:
        return
    except OSError as exc:
        raise UserError(files.trouble(exc)) from None
    if held is not None:
        raise UserError(
            f"{folder}: holds {held.name} already, and a {whose} needs a folder of its own; choose"
            " a new one, or leave the choice to the program"
        )


def claim(folder: Path, texts: Mapping[str, str]) -> None:
    """Make an empty folder the run's, with `texts`, by file name, in its `.hydra/`.

    Raises:
        UserError: it holds something, or cannot be written to.
    """
    refuse_used(folder)
    try:
        # of two that found it empty, one makes this
        (folder / ".hydra").mkdir()
        for name, text in texts.items():
            files.write_whole(folder / ".hydra" / name, text.encode(), new=True)
    except OSError as exc:
        raise UserError(files.trouble(exc)) from None


def not_there(folder: Path) -> list[Path]:
    """The folder and those above it that are not there yet, the deepest first."""
    return [path for path in (folder, *folder.parents) if not os.path.lexists(path)]


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove folders that this process has made, as long as there is nothing in them."""
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return


class RunLog:
    """The log of a run, held back until the run has a folder to write it to."""

    def __init__(self) -> None:
        self._held_back = logging.handlers.MemoryHandler(MOST_EARLY_LINES, logging.CRITICAL + 1)

    def write_to(self, folder: Path) -> None:
        """Write `train.log` from now on; a resumed run's has a number.

        Raises:
            OSError: it cannot be made.
        """
        target = _LogFile(files.free(folder / "train.log"), "x", "utf-8")
        target.setFormatter(logging.Formatter(LOG_FORMAT))
        self._held_back.setTarget(target)
        self._held_back.flush()
        self._held_back.capacity = 1

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Within the block, keep what is logged."""
        logging.getLogger().addHandler(self._held_back)
        try:
            yield
        finally:
            logging.getLogger().removeHandler(self._held_back)
            if self._held_back.target is not None:
                with suppress(OSError):  # a full disk: what is not written yet is lost
                    self._held_back.target.close()
            self._held_back.close()


class _LogFile(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """A full disk costs lines of the log, not the run."""
