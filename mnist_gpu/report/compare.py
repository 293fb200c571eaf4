"""Two records, folders of one configuration or rows, beside each other: what their times say."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from difflib import get_close_matches
from statistics import median
from typing import TYPE_CHECKING, Any

from mnist_gpu.errors import UserError
from mnist_gpu.numbers import counted, figure, times
from mnist_gpu.records.store import printable
from mnist_gpu.report.rows import PASSES, Row
from mnist_gpu.report.statistics import (
    ENOUGH,
    RESAMPLES,
    WIDEST,
    Ratio,
    bounds,
    resampled_medians,
)
from mnist_gpu.report.summary import load

if TYPE_CHECKING:
    from mnist_gpu.report.statistics import Array

MEASURES: dict[str, Callable[[Row], list[Any]]] = {
    "training time": lambda row: row.over("timing.train_s"),
    "time of an epoch": lambda row: [median(run.train_s or [0.0]) for run in row.runs],
    "whole run": lambda row: row.over("timing.total_s"),
    "peak memory": lambda row: row.over("resources.rss_peak_mib"),
    "energy": lambda row: row.over("resources.energy_j"),
}
UNITS = dict.fromkeys(MEASURES, "s") | {"peak memory": "MiB", "energy": "J"}
OVER_EPOCHS = ("training time", "time of an epoch")


def compare(asked: Sequence[str], paths: Sequence[str]) -> Iterator[str]:
    """Compare two records, folders or rows: lines for people.

    Args:
        asked: two of these: a record, a folder of one row's records, the name of a row of `paths`.
        paths: where named rows are looked for.

    Raises:
        UserError: a side is no single row, which the message says.
    """
    there = [os.path.exists(name) for name in asked]
    if not all(there) and not any(map(os.path.exists, paths)):
        lacking, where = asked[there.index(False)], printable(", ".join(paths))
        why = f"no such file or folder; and where rows are looked for, {where}, there is nothing"
        raise UserError(f"--compare {printable(lacking)}: {why}")
    # thousands of records are read only where a row is asked for by its name
    named = [] if all(there) else load(paths).rows
    sides = [
        load([name]).rows if is_path else [row for row in named if row.ref == name]
        for name, is_path in zip(asked, there, strict=True)
    ]
    others = [[] if is_path else [row.ref for row in named] for is_path in there]
    a, b = map(_only, asked, sides, there, others)
    for letter, name, row in zip("AB", asked, (a, b), strict=True):
        yield f"{letter}: {printable(name)}: {row.name} (n = {row.n}; {row.origin})"
    yield ""
    yield "A divided by B, ratios of medians:"
    for measure in MEASURES:
        yield f"- {measure}: {_measured(a, b, measure)}"
    yield f"- test accuracy: {a.accuracy} against {b.accuracy}"
    yield f"- cost of a run: {a.cost.text()} against {b.cost.text()}"
    yield ""
    found = list(differences(a, b))
    yield "What differs between them:"
    yield from (f"- {line}" for line in found or ["nothing that the records tell"])
    yield ""
    yield "What cannot be concluded:"
    yield from (f"- {line}" for line in _limits(a, b, len(found)))


def _only(asked: str, rows: Sequence[Row], is_path: bool, others: Sequence[str]) -> Row:
    if len(rows) == 1:
        return rows[0]
    why = "no acceptable record of a completed run there"
    if not is_path:
        near = get_close_matches(asked, others, 1)
        meant = f"; did you mean {near[0]}?" if near else ""
        why = f"no such file or folder, and no row of that name{meant}"
    if rows:
        names = ", ".join(row.ref for row in rows[:8])
        where = f"; with {printable(asked)} as PATH" if is_path else ""
        why = f"holds {len(rows)} rows; name one of them: {names}{where}"
    raise UserError(f"--compare {printable(asked)}: {why}")


def ratio_of(a: Row, b: Row, measure: str) -> Ratio | None:
    """The ratio of the medians of a measure; None where a run of either lacks it."""
    points = [MEASURES[measure](row) for row in (a, b)]
    # 0 is no measurement either: nothing can be divided by it
    if not all(map(all, points)):
        return None
    drawn = [
        _resampled(row, known, measure, side)
        for side, (row, known) in enumerate(zip((a, b), points, strict=True))
    ]
    interval = None if drawn[0] is None or drawn[1] is None else bounds(drawn[0] / drawn[1])
    return Ratio(median(points[0]) / median(points[1]), interval)


def differences(a: Row, b: Row) -> Iterator[str]:
    """Each field in which the two sides differ, as `field: a | b`."""
    for one, other in zip(_told(a), _told(b), strict=True):
        for name in sorted(one.keys() | other.keys()):
            ours, theirs = (_plain(side.get(name)) for side in (one, other))
            if ours != theirs:
                yield printable(f"{name}: {ours} | {theirs}")


def _measured(a: Row, b: Row, measure: str) -> str:
    found = ratio_of(a, b, measure)
    if found is None:
        return "not measured in every run"
    ours, theirs = (f"{figure(median(MEASURES[measure](row)))} {UNITS[measure]}" for row in (a, b))
    said = f"{times(found.value, found.interval)} ({ours} against {theirs})"
    if found.interval is None:
        return f"{said}, without an interval: it takes {ENOUGH} runs on both sides"
    return said if found.tells_apart else f"{said}; not told apart"


def _resampled(row: Row, points: list[float], measure: str, side: int) -> "Array | None":
    """Medians of resampled runs, of few runs those of their resampled epochs; (RESAMPLES,)."""
    if len(points) >= ENOUGH:
        return resampled_medians(points, side)
    if measure not in OVER_EPOCHS or min(len(run.train_s) for run in row.runs) < ENOUGH:
        return None
    import numpy as np

    random = np.random.default_rng((len(points), side))
    drawn = []
    for run in row.runs:
        # epochs of one run are no independent runs; it is said beside the interval
        epochs = np.asarray(run.train_s)
        sample = epochs[random.integers(0, len(epochs), (RESAMPLES, len(epochs)))]
        whole = measure == "training time"
        drawn.append(sample.sum(axis=1) if whole else np.median(sample, axis=1))
    medians: Array = np.median(drawn, axis=0)
    return medians


def _limits(a: Row, b: Row, n_differences: int) -> Iterator[str]:
    for letter, row in zip("AB", (a, b), strict=True):
        if row.n < ENOUGH:
            yield f"{letter} has {counted(row.n, 'run')}: {_of_few(row)}"
        yield from (f"{letter} is doubted: {doubt}" for doubt in row.doubts)
        yield from (f"{letter}: {note}" for note in row.notes)
    if a.key.epochs != b.key.epochs:
        yield "the numbers of epochs differ: compare the time of an epoch"
    if a.key.division != b.key.division:
        yield "the divisions differ: this is what switches or kernels add, not what machines do"
    if n_differences > 1:
        yield f"which of the {n_differences} differences makes the ratio"
    # chance, load and temperature are in no record
    elif not n_differences:
        yield "a cause of any ratio: nothing that is recorded differs"
    train = ratio_of(a, b, "training time")
    if train and train.interval and not train.may_be_said:
        yield f"how large the ratio is: its interval is wider than a factor of {WIDEST:g}"
    if train and not train.tells_apart:
        yield "which of the two trains faster"
    if {a.gate.outcome, b.gate.outcome} != {PASSES}:
        outcomes = f"A {a.gate.outcome}, B {b.gate.outcome}"
        yield f"that both trained to the same accuracy (the accuracy gate says: {outcomes})"


def _of_few(row: Row) -> str:
    """What intervals of fewer runs than it takes are made of."""
    if min(len(run.train_s) for run in row.runs) < ENOUGH:
        return f"an interval takes {ENOUGH} runs, or as many epochs"
    return "the intervals are over its epochs and say nothing of how runs differ"


def _told(row: Row) -> tuple[dict[str, Any], dict[str, Any], dict[str, list[str]]]:
    """What the records tell of a row: its configuration, its machine, its software."""
    # what follows from other fields is left out
    key = {name: value for name, value in asdict(row.key).items() if name != "category"}
    machine = key.pop("machine")
    found: dict[str, set[str]] = {}
    for run in row.runs:
        software = run.record.software
        told = {f"package {name}": version for name, version in software.packages.items()}
        told |= {name: getattr(software, name) for name in ("program_version", "python", "os")}
        told["git_commit"] = (software.git_commit or "unknown")[:12]
        told["driver"] = run.record.hardware.driver or "none"
        for name, value in told.items():
            found.setdefault(name, set()).add(value)
    return key, machine, {name: sorted(values) for name, values in found.items()}


def _plain(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
