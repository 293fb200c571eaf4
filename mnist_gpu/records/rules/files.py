"""Checking files of records: each by itself, then all together."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_all_start_methods, get_context
from pathlib import Path
from threading import active_count

from mnist_gpu.collection import no_collection
from mnist_gpu.records.rules.copies import repeated
from mnist_gpu.records.rules.doubtful import doubts
from mnist_gpu.records.rules.registry import check_record
from mnist_gpu.records.run import Run
from mnist_gpu.records.store import RecordError, find_records, printable, read_record

# starting processes takes as long as judging about this many records
WORTH_PROCESSES = 2000
CHUNK = 250


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
        for outcome in _judge_all(find_records(paths), now):
            if isinstance(outcome, Run):
                sound.append(outcome)
            else:
                faults += outcome
    together = [Fault(run.path, *why) for run, *why in repeated(sound)]
    refused = {fault.path for fault in together}
    accepted = [run for run in sound if run.path not in refused]
    doubtful = {run.record.run_id: list(doubts(run.record)) for run in accepted}
    return Verdict(accepted, faults + together, {key: why for key, why in doubtful.items() if why})


def _judge_all(paths: Sequence[Path], now: datetime) -> Iterator[Run | list[Fault]]:
    """Each file's run, or what speaks against it; many files are judged by all processors."""
    judge = partial(_judge, now=now)
    # forking is safe without threads; other ways would run the caller's script anew
    alone = active_count() > 1 or "fork" not in get_all_start_methods()
    if alone or len(paths) < WORTH_PROCESSES:
        yield from map(judge, paths)
        return
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with ProcessPoolExecutor(min(cpus or 1, 8), get_context("fork")) as pool:
        yield from pool.map(judge, paths, chunksize=CHUNK)


def _judge(path: Path, now: datetime) -> Run | list[Fault]:
    try:
        record = read_record(path)
    except RecordError as exc:
        return [
            Fault(path, "file" if field_ == "file" else "schema", field_, reason)
            for field_, reason in exc.faults
        ]
    found = [Fault(path, *finding) for finding in check_record(record, now)]
    return found or Run.of(path, record)
