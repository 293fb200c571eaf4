"""Two records, folders of one configuration or rows, beside each other: what their times say."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from mnist_gpu.errors import UserError
from mnist_gpu.records.run import Run
from mnist_gpu.records.schema import Record
from mnist_gpu.records.store import printable
from mnist_gpu.report.load import load
from mnist_gpu.report.numbers import counted, figure, percent, times
from mnist_gpu.report.rows import Row
from mnist_gpu.report.statistics import (
    ENOUGH,
    RESAMPLES,
    WIDEST,
    Ratio,
    bounds,
    resampled_medians,
)

# fields of a key that follow from others, or are said in the lines about software
SAID_ELSEWHERE = {"category", "machine"}
MEASURES: dict[str, Callable[[Run], float | None]] = {
    "training time": lambda run: run.record.timing.train_s,
    "time of an epoch": lambda run: median(run.train_s) if run.train_s else None,
    "whole run": lambda run: run.record.timing.total_s,
    "peak memory": lambda run: run.record.resources.rss_peak_mib,
    "energy": lambda run: run.record.resources.energy_j,
}
OVER_EPOCHS = ("training time", "time of an epoch")


@dataclass(frozen=True)
class Side:
    """What stands on one side: the completed runs of one row."""

    name: str
    row: Row

    @property
    def runs(self) -> list[Run]:
        """Its runs, the oldest first."""
        return self.row.group.runs


def compare(asked: Sequence[str], paths: Sequence[str]) -> Iterator[str]:
    """Compare two records, folders or rows.

    Args:
        asked: two of these: a record, a folder of one row's records, the name of a row of `paths`.
        paths: where named rows are looked for.

    Raises:
        UserError: a side is no single row, which the message says.
    """
    named = [] if all(Path(name).exists() for name in asked) else load(paths).rows
    rows = [
        load([name]).rows if Path(name).exists() else [row for row in named if row.ref == name]
        for name in asked
    ]
    first, second = (_only(name, found) for name, found in zip(asked, rows, strict=True))
    yield from beside(first, second)


def _only(asked: str, rows: Sequence[Row]) -> Side:
    if len(rows) == 1:
        return Side(asked, rows[0])
    what = printable(asked)
    if not rows:
        raise UserError(f"--compare {what}: no acceptable record of a completed run there")
    names = ", ".join(row.ref for row in rows[:8])
    raise UserError(f"--compare {what}: holds {len(rows)} rows; name one of them: {names}")


def beside(a: Side, b: Side) -> Iterator[str]:
    """Lines for people: ratios with intervals, what differs, and what cannot be concluded."""
    yield f"A: {printable(a.name)}: {a.row.name} (n = {a.row.n}; {a.row.origin})"
    yield f"B: {printable(b.name)}: {b.row.name} (n = {b.row.n}; {b.row.origin})"
    yield ""
    yield "A against B, ratios of medians:"
    for measure in MEASURES:
        yield f"- {measure}: {_measured(a, b, measure)}"
    ours, theirs = (percent(side.row.accuracy.median, side.row.accuracy.sd) for side in (a, b))
    yield f"- test accuracy: {ours} against {theirs}"
    yield f"- cost of a run: {a.row.cost.text()} against {b.row.cost.text()}"
    yield ""
    found = list(differences(a, b))
    yield "What differs between them:"
    yield from (f"- {line}" for line in found or ["nothing that the records tell"])
    yield ""
    yield "What cannot be concluded:"
    yield from (f"- {line}" for line in _limits(a, b, found))


def ratio_of(a: Side, b: Side, measure: str) -> Ratio | None:
    """The ratio of the medians of a measure; None where a run of either lacks it."""
    values = [[MEASURES[measure](run) for run in side.runs] for side in (a, b)]
    known = [[value for value in points if value] for points in values]
    if any(len(kept) < len(points) for kept, points in zip(known, values, strict=True)):
        return None
    drawn = [
        _resampled(side, points, measure, number)
        for number, (side, points) in enumerate(zip((a, b), known, strict=True))
    ]
    interval = None if drawn[0] is None or drawn[1] is None else bounds(drawn[0] / drawn[1])
    return Ratio(median(known[0]) / median(known[1]), interval, (a.row.n, b.row.n))


def differences(a: Side, b: Side) -> Iterator[str]:
    """Each field in which the two sides differ, as `field: a | b`."""
    ours, theirs = a.row.key, b.row.key
    for one, other in (
        (_without(asdict(ours)), _without(asdict(theirs))),
        (asdict(ours.machine), asdict(theirs.machine)),
        (_software(a.runs), _software(b.runs)),
    ):
        for name in sorted(one.keys() | other.keys()):
            if one.get(name) != other.get(name):
                yield printable(f"{name}: {_plain(one.get(name))} | {_plain(other.get(name))}")


def _measured(a: Side, b: Side, measure: str) -> str:
    found = ratio_of(a, b, measure)
    if found is None:
        return "not measured in every run"
    values = [median(MEASURES[measure](run) or 0.0 for run in side.runs) for side in (a, b)]
    said = f"{times(found.value, found.interval)} ({figure(values[0])} against {figure(values[1])})"
    if found.interval is None:
        return f"{said}, without an interval: it takes {ENOUGH} runs on both sides"
    return said if found.tells_apart else f"{said}; not told apart"


def _resampled(side: Side, points: list[float], measure: str, number: int) -> Any:
    if len(points) >= ENOUGH:
        return resampled_medians(points, number)
    if measure not in OVER_EPOCHS or min(len(run.train_s) for run in side.runs) < ENOUGH:
        return None
    import numpy as np

    random = np.random.default_rng((len(points), number))
    drawn = []
    for run in side.runs:
        epochs = np.asarray(run.train_s)
        sample = epochs[random.integers(0, len(epochs), (RESAMPLES, len(epochs)))]
        whole = measure == "training time"
        drawn.append(sample.sum(axis=1) if whole else np.median(sample, axis=1))
    return np.median(drawn, axis=0)


def _limits(a: Side, b: Side, found: list[str]) -> Iterator[str]:
    for side in (a, b):
        if side.row.n < ENOUGH:
            yield (
                f"{side.row.ref} has {counted(side.row.n, 'run')}: the intervals are over its"
                " epochs and say nothing of how runs differ"
            )
        yield from (f"{side.row.ref} is doubted: {doubt}" for doubt in side.row.doubts)
        yield from (f"{side.row.ref}: {note}" for note in side.row.notes)
    if a.row.key.epochs != b.row.key.epochs:
        yield "the numbers of epochs differ: compare the time of an epoch"
    if a.row.key.division != b.row.key.division:
        yield "the divisions differ: this is what switches or kernels add, not what machines do"
    if len(found) > 1:
        yield f"which of the {len(found)} differences makes the ratio"
    elif not found:
        yield "a cause of any ratio: nothing that is recorded differs"
    train = ratio_of(a, b, "training time")
    if train and train.interval and not train.may_be_said:
        yield f"how large the ratio is: its interval is wider than a factor of {WIDEST:g}"
    if train and not train.tells_apart:
        yield "which of the two trains faster"
    if {a.row.gate.outcome, b.row.gate.outcome} != {"passes"}:
        outcomes = ", ".join(f"{side.row.ref} {side.row.gate.outcome}" for side in (a, b))
        yield f"that both trained to the same accuracy (gate: {outcomes})"


def _without(key: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in key.items() if name not in SAID_ELSEWHERE}


def _software(runs: Sequence[Run]) -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    for run in runs:
        for name, value in _software_of(run.record).items():
            found.setdefault(name, set()).add(value)
    return {name: sorted(values) for name, values in found.items()}


def _software_of(record: Record) -> dict[str, str]:
    software = record.software
    return {
        "program_version": software.program_version,
        "git_commit": (software.git_commit or "unknown")[:12],
        "python": software.python,
        "os": software.os,
        "driver": record.hardware.driver or "none",
        **{f"package {name}": version for name, version in software.packages.items()},
    }


def _plain(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
