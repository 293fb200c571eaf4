"""Checking files of records: each by itself, then all together."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import repeat
from multiprocessing import get_all_start_methods, get_context
from pathlib import Path
from threading import active_count

from mnist_gpu.collection import no_collection
from mnist_gpu.records.rules.copies import repeated
from mnist_gpu.records.rules.doubtful import doubts
from mnist_gpu.records.rules.registry import check_record
from mnist_gpu.records.run import Run
from mnist_gpu.records.store import RecordError, find_records, printable, read_record

# starting a second process takes as long as judging about this many records
WORTH_A_PROCESS = 1000
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
    """Find, read and judge the records under `paths`; many of them in several processes.

    Raises:
        UserError: a path does not exist or cannot be searched.
    """
    now = now or datetime.now(UTC)
    accepted: list[Run] = []
    faults: list[Fault] = []
    # records hold no cycles: searching them for some would take longer than judging them
    with no_collection():
        for outcome in _judge_all(find_records(paths), now):
            if isinstance(outcome, Run):
                accepted.append(outcome)
            else:
                faults.extend(outcome)
    together = [Fault(run.path, *why) for run, *why in repeated(accepted)]
    refused = {fault.path for fault in together}
    kept = [run for run in accepted if run.path not in refused]
    found = {run.record.run_id: lines for run in kept if (lines := list(doubts(run.record)))}
    return Verdict(kept, faults + together, found)


def _judge_all(files: Sequence[Path], now: datetime) -> Iterator[Run | list[Fault]]:
    processes = min(len(files) // WORTH_A_PROCESS, _cpus(), 8)
    # forking is safe without threads; other ways would run the caller's script anew
    if processes < 2 or "fork" not in get_all_start_methods() or active_count() > 1:
        yield from _judge_chunk(files, now)
        return
    chunks = [files[start : start + CHUNK] for start in range(0, len(files), CHUNK)]
    with ProcessPoolExecutor(processes, get_context("fork")) as pool:
        for outcomes in pool.map(_judge_chunk, chunks, repeat(now)):
            yield from outcomes


def _judge_chunk(files: Sequence[Path], now: datetime) -> list[Run | list[Fault]]:
    with no_collection():
        return [_judge(path, now) for path in files]


def _judge(path: Path, now: datetime) -> Run | list[Fault]:
    try:
        record = read_record(path)
    except RecordError as refusal:
        return [
            Fault(path, "file" if field == "file" else "schema", field, reason)
            for field, reason in refusal.faults
        ]
    found = [Fault(path, *finding) for finding in check_record(record, now)]
    return found or Run.of(path, record)


def _cpus() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
