"""Sentences that the data make: with numbers, n and rows; none that the data do not bear.

One paragraph a topic. Those of the project's four questions are always there, and say which run is
missing where nothing may be said.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from mnist_gpu.report.comparison import (
    ANYWHERE,
    MOST_NAMED,
    Field,
    Rows,
    against,
    best,
    comparable,
    fields,
    is_apart,
    leader,
    missing,
    newest,
    sides,
    sound,
    time_of,
    versions,
)
from mnist_gpu.report.gate import NOT_JUDGED, NOT_SHOWN, PASSES
from mnist_gpu.report.numbers import counted, figure, percent, times
from mnist_gpu.report.rows import Row
from mnist_gpu.report.statistics import ratio, time_to

TARGET = 0.99
MOST_SENTENCES = 8
PHASES = {
    "train": "training",
    "eval": "evaluation",
    "startup": "start-up",
    "data": "data",
    "build": "build",
    "warmup": "warm-up",
    "checkpoint": "checkpoints",
    "other": "other",
}


@dataclass(frozen=True)
class Finding:
    """One sentence of a paragraph and the rows it rests on; none where it names what is missing."""

    topic: str
    text: str
    refs: tuple[str, ...] = ()


def find(rows: Rows) -> list[Finding]:
    """Every sentence that the rows bear, in a fixed order."""
    comparisons = fields(rows)
    return [
        Finding(topic, text, tuple(row.ref for row in named))
        for topic, make in TOPICS.items()
        for text, named in list(make(rows, comparisons))[:MOST_SENTENCES]
    ]


Sentences = Iterator[tuple[str, Sequence[Row]]]


def machines(rows: Rows, comparisons: list[Field]) -> Sentences:
    """The shortest training time within one engine, and how far ahead of the next."""
    for field in comparisons:
        if len(field.rows) > 1:
            first, second = field.rows[:2]
            yield (
                f"With {field.engine}, {first.place} {leader(field.rows, 'machines')}:"
                f" {time_of(first)} of training; the next, {second.place}, {time_of(second)},"
                f" {against(second, first)}{versions(first, second)}.",
                (first, second),
            )


def accelerators(rows: Rows, comparisons: list[Field]) -> Sentences:
    """The first of the accelerators beside the first of the CPUs."""
    yield from _question(rows, comparisons, "accelerators", ("accelerator", "CPU"))


def cloud_and_local(rows: Rows, comparisons: list[Field]) -> Sentences:
    """The first of the clouds beside the first of the local machines."""
    yield from _question(rows, comparisons, "cloud", ("cloud machine", "local machine"))


def resource_use(rows: Rows, comparisons: list[Field]) -> Sentences:
    """Memory and processors row by row, memory beside the smallest row's; energy."""
    used = list(filter(sound, rows))
    if not used:
        yield "Nothing can be said yet. Missing: a standard run in the stock division.", ()
        return
    memory = sorted(((peak, row) for row in used if (peak := row.used("rss_peak_mib"))), key=_first)
    if listed := [
        f"{row.ref} {figure(peak)} MiB{_busy(row)} (n = {row.n})" for peak, row in memory
    ]:
        named = [row for _, row in memory[:MOST_NAMED]]
        yield f"Memory at its peak, the smallest row first: {_some(listed)}.", named
    metered = sorted(
        ((joules, row) for row in used if (joules := row.used("energy_j"))), key=_first
    )
    listed = [f"{row.ref} {figure(energy_j / 1000)} kJ (n = {row.n})" for energy_j, row in metered]
    if listed:
        named = [row for _, row in metered[:MOST_NAMED]]
        yield f"Energy of a run where it was metered: {_some(listed)}.", named
    else:
        yield "Of energy nothing can be said. Missing: a run on a machine that meters it.", ()


def cost_effectiveness(rows: Rows, comparisons: list[Field]) -> Sentences:
    """What a run costs on each machine, within one engine."""
    said = False
    for field in comparisons:
        priced = [row for row in field.rows if row.cost.amount is not None]
        priced.sort(key=lambda row: (row.cost.usd is None, row.cost.usd or 0.0))
        free = [row for row in field.rows if row.cost.free]
        for what, named in (("a run costs", priced), ("free of charge", free)):
            listed = [
                f"{row.place} {_cost(row)}".rstrip() + f", in {time_of(row)} of training"
                for row in named
            ]
            if listed:
                said = True
                yield f"With {field.engine}, {what}: {_some(listed)}.", named[:MOST_NAMED]
    if not said:
        yield UNPRICED if comparisons else missing(rows, [ANYWHERE]), ()


UNPRICED = (
    "Nothing can be said yet. Missing: a price in conf/platform, or a reading of energy, for the"
    " machines there are."
)


def time_to_accuracy(rows: Rows, comparisons: list[Field]) -> Sentences:
    """Who is first at 99 %, on the training clock."""
    clock = "on the training clock, which stands still during evaluations"
    for field in comparisons:
        arrived = [row for row in field.rows if row.reached[TARGET].n == row.n]
        arrived.sort(key=lambda row: row.reached[TARGET].train_s or 0.0)
        if not arrived:
            continue
        first = arrived[0]
        after = f"after {figure(first.reached[TARGET].train_s or 0.0)} s {clock}"
        if len(arrived) == 1:
            yield f"With {field.engine}, {first.place} is at 99 % {after}.", (first,)
            continue
        apart = is_apart(arrived[1], first, _arrivals)
        yield (
            f"With {field.engine}, {first.place} is {'' if apart else 'by median '}the first at"
            f" 99 % of {len(arrived)} machines whose runs all get there, {after}; the next,"
            f" {arrived[1].place}, {against(arrived[1], first, _arrivals)}.",
            (first, arrived[1]),
        )


def frameworks(rows: Rows, comparisons: list[Field]) -> Sentences:
    """Engines on one machine by one program version."""
    found: dict[tuple[object, ...], list[Row]] = {}
    for row in filter(comparable, rows):
        programs = {run.record.software.program_version for run in row.group.runs}
        if len(programs) == 1:
            key = row.key
            place = (key.platform, key.rehearsal, key.machine, key.precision)
            found.setdefault((programs.pop(), *place), []).append(row)
    for (program, *_), members in found.items():
        ordered = sorted(
            newest(members, lambda row: row.engine), key=lambda row: row.train_s.median
        )
        if len(ordered) < 2:
            continue
        first = ordered[0]
        others = "; ".join(
            f"{row.engine} (n = {row.n}) {against(row, first)}" for row in ordered[1:]
        )
        precision = "" if first.key.precision == "float32" else f" in {first.key.precision}"
        yield (
            f"On {first.label}, {first.machine}{precision}, by program version {program},"
            f" {first.engine} (n = {first.n}) {leader(ordered, 'frameworks')}:"
            f" {time_of(first)} of training; {others}.",
            ordered,
        )


def switches_and_kernels(rows: Rows, comparisons: list[Field]) -> Sentences:
    """What tuned and open add to their own stock row: one sentence a machine and framework."""
    stock = {row.key.stock: row for row in filter(comparable, rows)}
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.key.division != "stock" and row.key.stock in stock and _bears_a_ratio(row):
            found.setdefault(stock[row.key.stock].ref, []).append(row)
    for base in stock.values():
        if members := found.get(base.ref):
            said = "; ".join(_beside_stock(row, base) for row in members[:MOST_NAMED])
            yield f"On {base.place} with {base.trained_by}: {said}.", (base, *members[:MOST_NAMED])


def accuracy(rows: Rows, comparisons: list[Field]) -> Sentences:
    """Which rows pass the gate, which are not shown to, and which are not judged."""
    judged = {
        outcome: [r for r in rows if r.category == "standard" and r.gate.outcome == outcome]
        for outcome in (PASSES, NOT_SHOWN, NOT_JUDGED)
    }
    if passed := sorted(judged[PASSES], key=lambda row: row.accuracy.median):
        low, high = passed[0], passed[-1]
        span = percent(low.accuracy.median, low.accuracy.sd)
        if low is not high:
            span = f"medians from {span} to {percent(high.accuracy.median, high.accuracy.sd)}"
        verb = "passes" if low is high else "pass"
        named = (low,) if low is high else (low, high)
        yield f"{counted(len(passed), 'row')} {verb} the accuracy gate: {span}.", named
    for row in judged[NOT_SHOWN]:
        yield f"{row.name} is {NOT_SHOWN}: {row.gate.basis}.", (row,)
    if unjudged := judged[NOT_JUDGED]:
        reasons = sorted({row.gate.basis for row in unjudged})
        verb = "is" if len(unjudged) == 1 else "are"
        yield (
            f"{counted(len(unjudged), 'row')} {verb} {NOT_JUDGED} ({'; '.join(reasons)}).",
            unjudged[:MOST_NAMED],
        )


def where_time_goes(rows: Rows, comparisons: list[Field]) -> Sentences:
    """Shares of the whole, row by row."""
    for row in filter(sound, rows):
        shares = sorted(
            ((row.share_of(phase), name) for phase, name in PHASES.items()), reverse=True
        )
        said = ", ".join(f"{name} {100 * share:.1f} %" for share, name in shares[:4])
        yield f"{row.ref} (n = {row.n}): {said}{_waiting(row)}.", (row,)


TOPICS: dict[str, Callable[[Rows, list[Field]], Sentences]] = {
    "Machines": machines,
    "Accelerators": accelerators,
    "Cloud against local": cloud_and_local,
    "Resource use": resource_use,
    "Cost-effectiveness": cost_effectiveness,
    "Time to 99 %": time_to_accuracy,
    "Frameworks on one machine": frameworks,
    "What switches and kernels add": switches_and_kernels,
    "Accuracy": accuracy,
    "Where time goes": where_time_goes,
}


def _question(
    rows: Rows, comparisons: list[Field], question: str, nouns: tuple[str, str]
) -> Sentences:
    said = False
    one, other = sides(question)
    for field in comparisons:
        ours, theirs = list(filter(one.holds, field.rows)), list(filter(other.holds, field.rows))
        if ours and theirs and _differ(ours[0], theirs[0], question):
            said = True
            fast, slow = sorted((ours[0], theirs[0]), key=lambda row: row.train_s.median)
            yield (
                f"With {field.engine}, {best(ours, nouns[0])} takes {time_of(ours[0])} of training,"
                f" {best(theirs, nouns[1])} {time_of(theirs[0])}: {slow.ref}"
                f" {against(slow, fast)}{versions(fast, slow)}.",
                (ours[0], theirs[0]),
            )
    if not said:
        yield missing(rows, (one, other)), ()


def _differ(one: Row, other: Row, question: str) -> bool:
    """Whether a cloud is compared with another computer than the one at home."""
    return question != "cloud" or one.key.machine.host != other.key.machine.host


def _first(pair: tuple[float, Row]) -> float:
    return pair[0]


def _busy(row: Row) -> str:
    cpu_percent, gpu_percent = row.used("cpu_percent"), row.used("gpu_percent")
    said = f", {cpu_percent / 100:.1f} CPUs busy" if cpu_percent else ""
    return said + (f", GPU busy {gpu_percent:.0f} % of the time" if gpu_percent else "")


def _waiting(row: Row) -> str:
    waits = [
        timing.data_wait_s / timing.train_s
        for run in row.group.runs
        if (timing := run.record.timing).data_wait_s is not None and timing.train_s
    ]
    if len(waits) < row.n:
        return ""
    return f"; {100 * median(waits):.1f} % of the training waited for data"


def _bears_a_ratio(row: Row) -> bool:
    return row.category == "standard" and row.n > 2 and not row.doubts and not row.gate.failed


def _beside_stock(row: Row, base: Row) -> str:
    found = ratio(row.group.train_s, base.group.train_s)
    if not found.may_be_said:
        return f"{row.division} (n = {row.n}) has a ratio to stock too uncertain to be said"
    if not found.tells_apart:
        return f"{row.division} (n = {row.n}) cannot be told apart from stock"
    return (
        f"{row.division} (n = {row.n}) takes {times(found.value, found.interval)} as long as stock"
    )


def _arrivals(row: Row) -> Sequence[float]:
    return [time_to(run, TARGET) or 0.0 for run in row.group.runs]


def _cost(row: Row) -> str:
    dollars = row.cost.usd_text()
    said = "" if row.cost.free else row.cost.text()
    return f"{said} ({dollars})" if dollars else said


def _some(listed: Sequence[str]) -> str:
    more = len(listed) - MOST_NAMED
    return "; ".join(listed[:MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")
