"""What a run needs to go on, on disk: whole or not at all, and read without running any code.

A checkpoint is one `.npz` file: the engine's state (`engines.base.State`) and one JSON text with
the stopwatch's totals, the history and the configuration it belongs to.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mnist_gpu.errors import UserError
from mnist_gpu.files import PARTIAL, free, write_whole
from mnist_gpu.measure.readings import Resources
from mnist_gpu.protocol.workload import State, Weights
from mnist_gpu.records.schema import EpochRecord
from mnist_gpu.timing.timeline import Epoch, Observer, Timeline

FORMAT = 3
NOTES = "notes"
DIGEST = "sha256"


@dataclass(frozen=True)
class Checkpoint:
    """A run at the edge of an epoch.

    Attributes:
        totals_ns: the stopwatch's totals per phase when it was written.
        segments: how many processes have worked on the run so far.
        fingerprint: of the configuration (`config.deviations`); another one cannot be resumed.
        resources: what the run had used by then, earlier segments included.
    """

    state: State
    totals_ns: dict[str, int]
    history: list[Epoch]
    segments: int
    fingerprint: str
    run_id: str
    resources: Resources | None = None


class Saver(Observer):
    """Saves a checkpoint every `every` epochs, on the clock of the phase `checkpoint`.

    The two newest are kept: if the last one cannot be read, the one before it can. Of an epoch
    whose turn it is not, a copy stays in memory, to be written if the run ends early.

    Args:
        every: epochs between two; 0: none at all.
        take: makes the checkpoint of this moment.
        resumes: the id of the run, if an earlier process has worked on it.
    """

    vital = True

    def __init__(
        self,
        folder: Path,
        every: int,
        take: Callable[[Timeline], Checkpoint],
        resumes: str | None,
    ) -> None:
        self.folder = folder
        self.every = every
        self.take = take
        self.resumes = resumes
        self._timeline: Timeline | None = None
        self._unsaved: Checkpoint | None = None
        self._kept: list[Path] = []

    def began(self, timeline: Timeline) -> None:
        """Keep the timeline, to read time and history from; of a run that is resumed, clear up
        after the process that died."""
        self._timeline = timeline
        if self.resumes is None:
            return
        self._kept = [path for path in reversed(find(self.folder)) if self._is_ours(path)]
        # what that process was writing when it died, under its temporary name
        for pattern in (".epoch-*", ".weights.npz.*", "../.record.json.*"):
            for partial in self.folder.glob(f"{pattern}{PARTIAL}"):
                partial.unlink(missing_ok=True)

    def epoch_ended(self, row: Epoch) -> None:
        """Write the checkpoint of this epoch if it is its turn."""
        # not even a copy in memory: it would cost the time that the user saves
        if not self.every:
            return
        assert self._timeline is not None
        with self._timeline.stopwatch.during("checkpoint"):
            self._unsaved = self.take(self._timeline)
            if row.epoch % self.every == 0:
                self._save(self._unsaved)

    def ended(self, timeline: Timeline) -> None:
        """Write what is not on disk of a run that ended early."""
        if self._unsaved is not None and len(timeline.history) < timeline.epochs:
            with timeline.stopwatch.during("checkpoint"):
                self._save(self._unsaved)

    def _save(self, checkpoint: Checkpoint) -> None:
        # a file of that name that is not this run's stays as it is
        path = free(self.folder / f"epoch-{checkpoint.history[-1].epoch:05d}.npz")
        write(checkpoint, path)
        self._unsaved = None
        self._kept.append(path)
        # only once the new one is whole on disk
        while len(self._kept) > 2:
            self._kept.pop(0).unlink(missing_ok=True)

    def _is_ours(self, path: Path) -> bool:
        try:
            return read(path).run_id == self.resumes
        except UserError:
            return False


def find(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, newest epoch first."""
    return sorted(folder.glob("epoch-*.npz"), reverse=True)


def write(checkpoint: Checkpoint, path: Path) -> None:
    """Write `checkpoint` to `path`, atomically, with a digest of its contents.

    Raises:
        OSError: the disk is full, or the folder cannot be written to.
    """
    notes = {name: value for name, value in vars(checkpoint).items() if name != "state"}
    notes["format"] = FORMAT
    notes["history"] = [asdict(row) for row in checkpoint.history]
    notes["resources"] = checkpoint.resources and checkpoint.resources.model_dump()
    arrays = {**checkpoint.state, NOTES: np.array(json.dumps(notes))}
    # zip's own CRC covers an entry, not that all of them are there
    arrays[DIGEST] = np.array(weights_sha256(arrays))
    _write_arrays(arrays, path)


def read(path: Path) -> Checkpoint:
    """Read a checkpoint without running any code that might stand in it.

    Raises:
        UserError: the file is missing, truncated, changed, or not a checkpoint of this project.
    """
    try:
        arrays = _arrays(path)
        # before anything in it is believed
        if str(arrays.pop(DIGEST)) != weights_sha256(arrays):
            raise ValueError("its digest does not match its contents")
        notes = json.loads(str(arrays.pop(NOTES)))
        if notes["format"] != FORMAT:
            raise ValueError(f"format {notes['format']}, this version reads {FORMAT}")
        rows = [EpochRecord.model_validate(row) for row in notes["history"]]
        return Checkpoint(
            state=arrays,
            totals_ns={str(k): int(v) for k, v in notes["totals_ns"].items()},
            history=[Epoch(**row.model_dump()) for row in rows],
            segments=int(notes["segments"]),
            fingerprint=str(notes["fingerprint"]),
            run_id=str(notes["run_id"]),
            resources=Resources.model_validate(notes["resources"]) if notes["resources"] else None,
        )
    except Exception as exc:  # whatever a damaged archive makes its readers raise
        raise _not_whole(path, "checkpoint of this project", exc) from None


def write_weights(weights: Weights, path: Path) -> None:
    """Write weights as plain `.npz`, atomically: an array a parameter, PyTorch's layout; raises
    OSError as `write` does."""
    _write_arrays(weights, path)


def read_weights(path: Path) -> Weights:
    """Read what `write_weights` wrote.

    Raises:
        UserError: the file is missing, truncated, changed, or holds anything but plain arrays.
    """
    try:
        return _arrays(path)
    except Exception as exc:  # whatever a damaged archive makes its readers raise
        raise _not_whole(path, "file of weights", exc) from None


def weights_sha256(weights: Mapping[str, npt.NDArray[Any]]) -> str:
    """SHA-256 over names, types, shapes and little-endian bytes of all arrays, by name."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        array = np.ascontiguousarray(weights[name])
        if array.dtype.byteorder == ">":
            array = array.astype(array.dtype.newbyteorder("<"))
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _write_arrays(arrays: State, path: Path) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    write_whole(path, buffer.getvalue())


def _arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    with zipfile.ZipFile(path) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            # ours are stored plainly; a compressed archive could unpack to any size
            raise ValueError("its contents are compressed")
    # a pickle could run anything
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _not_whole(path: Path, what: str, exc: Exception) -> UserError:
    why = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
    return UserError(f"{path.name}: not a whole {what}: {why}")
