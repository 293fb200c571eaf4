"""Checking files of records: each by itself, then all together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from mnist_gpu.collection import no_collection
from mnist_gpu.records.rules.copies import repeated
from mnist_gpu.records.rules.doubtful import doubts
from mnist_gpu.records.rules.registry import check_record
from mnist_gpu.records.run import Run
from mnist_gpu.records.store import RecordError, find_records, printable, read_record


@dataclass(frozen=True)
class Fault:
    """One reason against one file; its text is the line that `validate` prints."""

    path: Path
    rule: str
    field: str
    reason: str

    def __str__(self) -> str:
        return printable(f"{self.path}: {self.field}: {self.reason} [{self.rule}]")


@dataclass(frozen=True)
class Verdict:
    """What became of the files; `doubts` of accepted ones by run id, a line each."""

    accepted: list[Run]
    faults: list[Fault]
    doubts: dict[str, list[str]] = field(default_factory=dict)


def check_files(paths: Sequence[Path | str], now: datetime | None = None) -> Verdict:
    """Find, read and judge the records under `paths`, each by itself and then all together.

    Raises:
        UserError: a path does not exist or cannot be searched.
    """
    now = now or datetime.now(UTC)
    sound: list[Run] = []
    faults: list[Fault] = []
    # records hold no cycles: searching them for some would take longer than judging them
    with no_collection():
        for path in find_records(paths):
            try:
                record = read_record(path)
            except RecordError as exc:
                faults += _unreadable(exc)
                continue
            found = [Fault(path, *finding) for finding in check_record(record, now)]
            faults += found
            if not found:
                sound.append(Run.of(path, record))
    together = [Fault(run.path, *why) for run, *why in repeated(sound)]
    refused = {fault.path for fault in together}
    accepted = [run for run in sound if run.path not in refused]
    doubtful = {run.record.run_id: list(doubts(run.record)) for run in accepted}
    return Verdict(accepted, faults + together, {key: why for key, why in doubtful.items() if why})


def _unreadable(exc: RecordError) -> Iterator[Fault]:
    for field_, reason in exc.faults:
        yield Fault(exc.path, "file" if field_ == "file" else "schema", field_, reason)
