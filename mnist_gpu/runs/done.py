"""What a sweep that is run again need not do again."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_gpu import __version__
from mnist_gpu.config import deviations
from mnist_gpu.config.compose import read_settings
from mnist_gpu.errors import UserError
from mnist_gpu.runs.sweep import Sweep

if TYPE_CHECKING:
    from mnist_gpu.records.schema import Record


@dataclass(frozen=True)
class Done:
    """A job that an earlier sweep has finished."""

    path: Path
    record: "Record"


def find(fingerprint: str, sweep: Sweep) -> Done | None:
    """The newest acceptable, completed record of this configuration, data set and version.

    Looked for in the sweeps beside the present one, whose closing table then shows what was found.
    """
    for folder in _jobs(sweep.folder):
        found = _acceptable(folder / "record.json")
        if found is not None and _fingerprint(folder, found) == fingerprint:
            sweep.found.append(folder / "record.json")
            return Done(folder / "record.json", found)
    return None


def _jobs(sweep: Path) -> Iterator[Path]:
    records = [path for path in sweep.parent.glob("*/*/record.json") if sweep not in path.parents]
    for path in sorted(records, key=lambda path: path.stat().st_mtime, reverse=True):
        yield path.parent


def _acceptable(path: Path) -> "Record | None":
    from mnist_gpu.records.rules import check_record
    from mnist_gpu.records.store import read_record

    try:
        record = read_record(path)
    except UserError:
        return None
    current = record.software.program_version == __version__
    whole = record.status == "completed" and len(record.epochs) == record.workload.epochs
    return record if current and whole and not check_record(record, datetime.now(UTC)) else None


def _fingerprint(folder: Path, record: "Record") -> str | None:
    """Of the configuration that the record's folder keeps."""
    try:
        settings = read_settings(folder / ".hydra" / "config.yaml")
    except UserError:
        return None
    return deviations.fingerprint(settings, record.workload.dataset_sha256)
