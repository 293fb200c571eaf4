"""Everything the table, the page and the findings say, worked out once from the runs."""

import re
import sys
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

from mnist_gpu.errors import UserError
from mnist_gpu.records.rules import check_files
from mnist_gpu.records.run import Run
from mnist_gpu.report.findings import Finding, find
from mnist_gpu.report.judgement import doubts, gate, notes, pinned, run_doubts
from mnist_gpu.report.published import NOTHING_PUBLISHED, Published, find_published
from mnist_gpu.report.rows import Row, group_runs
from mnist_gpu.report.statistics import Ratio, ratio

MOST_FAULTS_SHOWN = 20
# the deviations that come with more devices; a batch of 64 on each makes the global batch larger
COMES_WITH_DEVICES = re.compile(r"(devices|num_nodes|scaling)\b")
COMES_WITH_WEAK = re.compile(r"(devices|num_nodes|scaling|batch_size)\b")
SCALED = ("category", "machine", "devices", "num_nodes", "scaling", "deviations", "batch_size")


@dataclass(frozen=True)
class Scaling:
    """One row on several devices beside the fastest on one.

    Attributes:
        devices: how many shared the training.
        weak: whether each kept a whole batch of 64.
        efficiency: time on 1 / (N x time on N); 1 is perfect.
    """

    row: Row
    base: Row
    devices: int
    weak: bool
    efficiency: Ratio


@dataclass(frozen=True)
class Summary:
    """The whole report.

    Attributes:
        rows: those of the standard first, then the fastest first.
        findings: sentences with links to rows.
        runs: every accepted run, completed or not.
        unfinished: how many runs ended in which way but `completed`.
        scaling: rows on several devices beside those on one.
        published: what others report, never among the rows.
    """

    rows: list[Row]
    findings: list[Finding]
    runs: list[Run]
    unfinished: dict[str, int]
    scaling: list[Scaling]
    published: Published


def load(paths: Sequence[str]) -> Summary:
    """Judge the records under `paths` and summarise the acceptable ones; name faults on stderr.

    Raises:
        UserError: a path does not exist, or there are records and none is acceptable.
    """
    verdict = check_files(paths)
    for fault in verdict.faults[:MOST_FAULTS_SHOWN]:
        print(f"refused: {fault}", file=sys.stderr)
    if (more := len(verdict.faults) - MOST_FAULTS_SHOWN) > 0:
        print(f"refused: {more} more faults; see mnist_gpu.validate", file=sys.stderr)
    if verdict.faults and not verdict.accepted:
        raise UserError("no record is acceptable: nothing to report")
    return summarise(verdict.accepted, verdict.doubts, published=find_published(paths))


def summarise(
    runs: Sequence[Run],
    given_doubts: Mapping[str, Sequence[str]] | None = None,
    reference: Mapping[str, float] | None = None,
    published: Published = NOTHING_PUBLISHED,
) -> Summary:
    """Put the runs into rows and work out what each row says.

    Args:
        runs: accepted ones, completed or not.
        given_doubts: run_id -> lines, from whoever judged the records.
        reference: run_id -> test accuracy of the gate's reference, by default the pinned one.
        published: what others report.
    """
    # an empty one is a reference, too: of nothing
    reference = pinned() if reference is None else reference
    of_run = run_doubts(runs, given_doubts or {}, reference)
    rows = group_runs(runs)
    for row in rows:
        row.gate = gate(row, reference)
        row.doubts = tuple(doubts(row, of_run))
        row.notes = (*notes(row), *published.notes(row))
    unfinished = Counter(str(run.record.status) for run in runs)
    # a Counter forgets what it never saw without complaint
    del unfinished["completed"]
    _mark_fronts(rows)
    return Summary(rows, find(rows), list(runs), dict(unfinished), scaling(rows), published)


def scaling(rows: Sequence[Row]) -> list[Scaling]:
    """Every row on several devices for which there is one on a single device."""
    several = [row for row in rows if row.key.devices > 1]
    if not several:
        return []
    single: dict[Hashable, Row] = {}
    for row in sorted(rows, key=lambda row: row.train_s.median):
        if row.key.devices == 1:
            single.setdefault(_alike(row), row)
    found = [_scaling(row, base) for row in several if (base := single.get(_alike(row)))]
    return sorted(found, key=lambda entry: (entry.base.ref, entry.weak, entry.devices))


def _scaling(row: Row, base: Row) -> Scaling:
    devices = row.key.devices
    found = ratio(base.train_s.points, row.train_s.points)
    interval = found.interval and (found.interval[0] / devices, found.interval[1] / devices)
    efficiency = Ratio(found.value / devices, interval)
    return Scaling(row, base, devices, row.key.scaling == "weak", efficiency)


def _alike(row: Row) -> Hashable:
    """What a row on several devices shares with its row on one."""
    key, machine = row.key, row.key.machine
    weak = key.scaling == "weak"
    with_devices = COMES_WITH_WEAK if weak else COMES_WITH_DEVICES
    return (
        # processes share the threads of a CPU, so their number is no mark of the machine
        machine.cpu_model if row.on_cpu else machine.accelerator_name,
        tuple(text for text in key.deviations if not with_devices.match(text)),
        key.batch_size // key.devices if weak else key.batch_size,
        key.without(*SCALED),
    )


def _mark_fronts(rows: Sequence[Row]) -> None:
    """Mark the rows that none beats in both time (or dollars) and accuracy."""
    judged = [row for row in rows if row.category == "standard" and not row.gate.failed]
    priced = [row for row in judged if row.cost.usd is not None]
    _mark_front("time", judged, lambda row: row.train_s.median)
    _mark_front("cost", priced, lambda row: row.cost.usd or 0.0)


def _mark_front(name: str, rows: Sequence[Row], spent: Callable[[Row], float]) -> None:
    best = float("-inf")
    for row in sorted(rows, key=lambda row: (spent(row), -row.accuracy.median)):
        # sorted by what is spent: only a better accuracy is worth spending more
        if row.accuracy.median > best + 1e-9:
            best = row.accuracy.median
            row.fronts.add(name)
