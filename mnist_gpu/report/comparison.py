"""Which rows may be compared, what may be said of them, and which run is missing where nothing may.

Machines are compared within one engine, stock and one precision; nothing else may differ.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from mnist_gpu.protocol.standard import protocol
from mnist_gpu.report.gate import NOT_SHOWN
from mnist_gpu.report.numbers import seconds, times
from mnist_gpu.report.platforms import known_platforms, platforms_with
from mnist_gpu.report.rows import Row
from mnist_gpu.report.statistics import ENOUGH, ratio

Rows = Sequence[Row]
Values = Callable[[Row], Sequence[float]]
MOST_NAMED = 6
MOST_PLATFORMS = 8


@dataclass(frozen=True)
class Field:
    """Machines that may be compared: one row each, the fastest first."""

    engine: str
    rows: list[Row]


@dataclass(frozen=True)
class Side:
    """One side of a question: where a run is to be made, and who has made one."""

    where: str
    holds: Callable[[Row], bool]
    platforms: list[str]


ANYWHERE = Side("on any machine", lambda row: True, list(known_platforms()))


def training_time(row: Row) -> Sequence[float]:
    """What rows are compared by unless said otherwise."""
    return row.group.train_s


def sound(row: Row) -> bool:
    """Whether a row is standard, stock, of no shown inequivalence and under no doubt."""
    return _candidate(row) and not row.doubts and not row.gate.failed


def comparable(row: Row) -> bool:
    """Whether it is sound, and of enough runs for a ratio."""
    return sound(row) and row.n >= ENOUGH


def fields(rows: Rows) -> list[Field]:
    """The sets within which machines are compared, the common engine's first."""
    common = protocol()["common_engine"]
    found: dict[tuple[object, ...], list[Row]] = {}
    for row in filter(comparable, rows):
        key = row.key
        group = (key.engine != common, key.engine, key.backend, key.precision)
        found.setdefault((*group, -key.engine_version), []).append(row)
    return [
        Field(members[0].trained_by, sorted(newest(members), key=_time))
        for _, members in sorted(found.items(), key=lambda item: item[0])
    ]


def newest(rows: Rows, *also: Callable[[Row], object]) -> list[Row]:
    """One row a machine: what is no rehearsal first, then what ran last."""
    found: dict[object, Row] = {}
    for row in sorted(rows, key=_recency):
        found[(row.key.machine, *(what(row) for what in also))] = row
    return list(found.values())


def is_apart(slow: Row, fast: Row, values: Values = training_time) -> bool:
    """Whether the ratio's interval leaves 1 out."""
    return ratio(values(slow), values(fast)).tells_apart


def against(slow: Row, fast: Row, values: Values = training_time) -> str:
    """`takes 2.31 times (95 % interval 2.28 to 2.34) as long`, or what may be said instead."""
    found = ratio(values(slow), values(fast))
    if not found.tells_apart:
        said = f" ({times(found.value, found.interval)})" if found.may_be_said else ""
        return f"cannot be told apart from it{said.replace(' (95', ', 95').replace('))', ')')}"
    if not found.may_be_said:
        return "takes longer, by a ratio too uncertain to be said"
    return f"takes {times(found.value, found.interval)} as long"


def leader(rows: Rows, what: str, values: Values = training_time) -> str:
    """`is the fastest of 3 machines`, where the next of the sorted rows can be told apart."""
    apart = is_apart(rows[1], rows[0], values)
    return f"{'is the fastest' if apart else 'has the shortest median'} of {len(rows)} {what}"


def best(rows: Rows, what: str) -> str:
    """The first of sorted rows, for a sentence that goes on."""
    if len(rows) == 1:
        return f"the only {what}, {rows[0].place},"
    apart = is_apart(rows[1], rows[0])
    return (
        f"the {'fastest' if apart else 'first by median'} of {len(rows)} {what}s, {rows[0].place},"
    )


def time_of(row: Row) -> str:
    """Median and standard deviation of the training time."""
    return seconds(row.train_s.median, row.train_s.sd)


def versions(*rows: Row) -> str:
    """` (torch 2.11 and torch 2.15)` where the frameworks' versions differ; else empty."""
    found = sorted({row.key.framework for row in rows})
    return f" ({' and '.join(found)})" if len(found) > 1 else ""


def sides(question: str) -> tuple[Side, Side]:
    """The two sides of `accelerators` or `cloud`."""
    if question == "accelerators":
        return (
            Side(
                "on an accelerator",
                lambda row: not row.group.on_cpu,
                platforms_with(accelerator={"cuda", "mps"}),
            ),
            Side("on a CPU", lambda row: row.group.on_cpu, platforms_with(accelerator={"cpu"})),
        )
    return (
        Side(
            "in a cloud",
            lambda row: row.group.newest.platform.kind != "local" and not row.key.rehearsal,
            platforms_with(kind={"cloud", "hpc"}),
        ),
        Side(
            "on a machine of one's own",
            lambda row: row.group.newest.platform.kind == "local" and not row.key.rehearsal,
            platforms_with(kind={"local"}),
        ),
    )


def missing(rows: Rows, wanted: Sequence[Side]) -> str:
    """Which run would let something be said of the sides, by the common engine."""
    lacking = [text for side in wanted for text in _lacking(rows, side)]
    if not lacking:
        lacking = ["the same engine version and precision on both sides, on different hardware"]
    return f"Nothing can be said yet. Missing: {'; '.join(lacking)}."


def _lacking(rows: Rows, side: Side) -> Iterator[str]:
    engine = protocol()["common_engine"]
    there = [
        row for row in rows if _candidate(row) and row.key.engine == engine and side.holds(row)
    ]
    if any(map(comparable, there)):
        return
    if there:
        yield _obstacle(max(there, key=lambda row: (sound(row), row.n)))
        return
    platforms = ",".join(side.platforms[:MOST_PLATFORMS])
    yield f"engine={engine} {side.where} (platform={platforms}; seed=0,1,2 or more)"


def _obstacle(row: Row) -> str:
    if row.doubts:
        return f"{row.ref} without its doubt ({row.doubts[0]})"
    if row.gate.failed:
        return f"{row.ref} with an accuracy that is equivalent (it is {NOT_SHOWN})"
    made = {run.record.workload.seed for run in row.group.runs}
    left = [seed for seed in protocol()["seeds"] if seed not in made]
    seeds = ",".join(map(str, left[: ENOUGH - row.n]))
    return f"seed={seeds or 'any'} of {row.ref} (n = {row.n})"


def _candidate(row: Row) -> bool:
    return row.category == "standard" and row.key.division == "stock"


def _recency(row: Row) -> tuple[bool, str]:
    return not row.key.rehearsal, row.group.newest.created_at


def _time(row: Row) -> float:
    return median(training_time(row))
