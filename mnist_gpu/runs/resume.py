"""Finding the run that `resume=` asks to continue."""

import logging
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from mnist_gpu.errors import UserError
from mnist_gpu.records.store import read_record
from mnist_gpu.runs.checkpoint import Checkpoint, find, read, read_weights
from mnist_gpu.runs.folder import is_held, refuse_used
from mnist_gpu.runs.sweep import Sweep
from mnist_gpu.timing.timeline import Epoch

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Continuation:
    """Where a run goes on: in a new folder from nothing, or in an old one from a checkpoint."""

    folder: Path
    checkpoint: Checkpoint | None = None
    segments: int = 1
    run_id: str = field(default_factory=lambda: secrets.token_hex(16))
    history: list[Epoch] = field(default_factory=list)


def restarts() -> int:
    """How often Slurm has started this job again; such a job finds what its first start left."""
    return int(os.environ.get("SLURM_RESTART_COUNT") or 0)


def find_continuation(
    resume: str | None, folder: Path, fingerprint: str, sweep: Sweep | None = None
) -> Continuation:
    """Decide what `resume` means for a run whose own new folder is `folder`.

    Args:
        resume: null, `auto` (the newest unfinished run of this configuration beside `folder`; a
            fresh run where there is none), or a run's folder.
        folder: where a fresh run would go.
        fingerprint: of the present configuration.
        sweep: the present one, whose earlier siblings are searched as well.

    Raises:
        UserError: the folder has no readable checkpoint, or one of another configuration, or a
            fresh run's folder holds something.
    """
    if resume not in (None, "auto"):
        return _named(Path(str(resume)), fingerprint)
    candidates = [folder] if resume == "auto" or restarts() else []
    candidates += _unfinished(folder, sweep) if resume == "auto" else []
    # the newest first
    for other in candidates:
        found = None if _completed(other) else _newest_readable(other)
        if found and found.fingerprint == fingerprint and not _foreign(other, found):
            return _continuing(other, found)
    if restarts() and folder.exists() and any(folder.iterdir()):
        # its first start had saved nothing that could be gone on from
        folder = folder.with_name(f"{folder.name}-restart{restarts()}")
    refuse_used(folder)
    return Continuation(folder)


def _named(folder: Path, fingerprint: str) -> Continuation:
    found = _newest_readable(folder)
    if not find(folder / "checkpoints"):
        fault = "no checkpoint there; name a run's folder, or auto"
    elif _completed(folder):
        fault = "that run is complete: nothing is left to do"
    elif found is None:
        fault = "none of its checkpoints can be read"
    elif found.fingerprint != fingerprint:
        fault = (
            "that run had another configuration, data set or version;"
            " give the same overrides as then (its .hydra/overrides.yaml)"
        )
    elif foreign := _foreign(folder, found):
        raise UserError(f"{foreign}: not of the run whose checkpoints are there; move it away")
    else:
        return _continuing(folder, found)
    raise UserError(f"resume={folder}: {fault}")


def _continuing(folder: Path, checkpoint: Checkpoint) -> Continuation:
    return Continuation(
        folder, checkpoint, checkpoint.segments + 1, checkpoint.run_id, checkpoint.history
    )


def _foreign(folder: Path, checkpoint: Checkpoint) -> Path | None:
    """What the run would replace at its end although it is not its own."""
    path = folder / "record.json"
    try:
        if os.path.lexists(path) and read_record(path).run_id != checkpoint.run_id:
            return path
        path = folder / "checkpoints" / "weights.npz"
        if os.path.lexists(path):
            read_weights(path)
    except UserError:
        return path
    return None


def _unfinished(folder: Path, sweep: Sweep | None) -> list[Path]:
    found = [path.parent for path in folder.parent.glob("*/checkpoints")]
    if sweep is not None:
        # a sweep that is run again has a new folder: its jobs look into the earlier sweeps'
        found += [path.parent for path in sweep.folder.parent.glob("*/*/checkpoints")]
    candidates = dict.fromkeys(path.absolute() for path in found)
    unfinished = [path for path in candidates if not _completed(path) and not is_held(path)]
    return sorted(unfinished, key=lambda path: path.stat().st_mtime, reverse=True)


def _completed(folder: Path) -> bool:
    try:
        return read_record(folder / "record.json").status == "completed"
    except UserError:
        return False


def _newest_readable(folder: Path) -> Checkpoint | None:
    for path in find(folder / "checkpoints"):
        try:
            return read(path)
        except UserError as exc:
            log.warning("%s; trying the one before", exc)
    return None
