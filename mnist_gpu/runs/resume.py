"""Finding the run that `resume=` asks to continue."""

import logging
from dataclasses import dataclass, field
from pathlib import Path

from mnist_gpu.errors import UserError
from mnist_gpu.runs.checkpoint import Checkpoint, find, read
from mnist_gpu.runs.lock import is_held
from mnist_gpu.runs.sweep import CURRENT
from mnist_gpu.timing.timeline import Epoch

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Continuation:
    """Where a run goes on: in a new folder from nothing, or in an old one from a checkpoint."""

    folder: Path
    checkpoint: Checkpoint | None = None
    segments: int = 1
    run_id: str | None = None
    history: list[Epoch] = field(default_factory=list)


def find_continuation(resume: str | None, folder: Path, fingerprint: str) -> Continuation:
    """Decide what `resume` means for a run whose own new folder is `folder`.

    Args:
        resume: null, `auto` (the newest unfinished run of this configuration beside `folder`; a
            fresh run where there is none), or a run's folder.
        folder: where a fresh run would go.
        fingerprint: of the present configuration.

    Raises:
        UserError: the folder has no readable checkpoint, or one of another configuration.
    """
    if resume in (None, "auto"):
        # a fresh run's folder is new: this one is the same job, started again by its queue
        found = _newest_readable(folder) if not _completed(folder) else None
        if found is not None and found.fingerprint == fingerprint:
            return _continuing(folder, found)
    if resume is None:
        return Continuation(folder)
    if resume == "auto":
        for other in _unfinished(folder):
            found = _newest_readable(other)
            if found is not None and found.fingerprint == fingerprint:
                return _continuing(other, found)
        return Continuation(folder)
    other = Path(resume)
    if not find(other / "checkpoints"):
        raise UserError(f"resume={resume}: no checkpoint there; name a run's folder, or auto")
    if _completed(other):
        raise UserError(f"resume={resume}: that run is complete: nothing is left to do")
    found = _newest_readable(other)
    if found is None:
        raise UserError(f"resume={resume}: none of its checkpoints can be read")
    if found.fingerprint != fingerprint:
        raise UserError(
            f"resume={resume}: that run had another configuration, data set or version;"
            " give the same overrides as then (its .hydra/overrides.yaml)"
        )
    return _continuing(other, found)


def _continuing(folder: Path, checkpoint: Checkpoint) -> Continuation:
    return Continuation(
        folder, checkpoint, checkpoint.segments + 1, checkpoint.run_id, checkpoint.history
    )


def _unfinished(folder: Path) -> list[Path]:
    found = [path.parent for path in folder.parent.glob("*/checkpoints")]
    if CURRENT.folder is not None:
        # a sweep that is run again has a new folder: its jobs look into the earlier sweeps'
        found += [path.parent for path in CURRENT.folder.parent.glob("*/*/checkpoints")]
    candidates = dict.fromkeys(path.absolute() for path in found)
    unfinished = [path for path in candidates if not _completed(path) and not is_held(path)]
    return sorted(unfinished, key=lambda path: path.stat().st_mtime, reverse=True)


def _completed(folder: Path) -> bool:
    from mnist_gpu.records.store import read_record

    try:
        return read_record(folder / "record.json").status == "completed"
    except UserError:
        return False


def _newest_readable(folder: Path) -> Checkpoint | None:
    for path in find(folder / "checkpoints"):
        try:
            return read(path)
        except UserError as fault:
            log.warning("%s; trying the one before", fault)
    return None
