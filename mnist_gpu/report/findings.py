"""Sentences that the data make: with numbers, n and rows; none that the data do not bear.

One paragraph a topic. Those of the project's four questions are always there, and say which run is
missing where nothing may be said.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import truediv
from statistics import median

from mnist_gpu.numbers import figure, times
from mnist_gpu.records.remarks import waited
from mnist_gpu.report import comparison
from mnist_gpu.report.comparison import Rows, Side, against, beside, comparable, sound, versions
from mnist_gpu.report.rows import NOT_JUDGED, NOT_SHOWN, PASSES, Row
from mnist_gpu.report.statistics import ENOUGH, ratio, time_to

TARGET = 0.99
MOST_SENTENCES = 8
MOST_NAMED = 6
UNPRICED = (
    "Nothing can be said yet. Missing: a price in conf/platform, or a reading of energy, for the"
    " machines there are."
)
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


Fields = Sequence[Rows]
Sentences = Iterator[tuple[str, Sequence[Row]]]


@dataclass(frozen=True)
class Finding:
    """One sentence of a paragraph and the rows it rests on; none where it names what is missing."""

    topic: str
    text: str
    refs: tuple[str, ...] = ()


def find(rows: Rows) -> list[Finding]:
    """Every sentence that the rows bear, in a fixed order."""
    fields = comparison.fields(rows)
    return [
        Finding(topic, text, tuple(row.ref for row in named))
        for topic, make in TOPICS.items()
        for text, named in list(make(rows, fields))[:MOST_SENTENCES]
    ]


def machines(_: Rows, fields: Fields) -> Sentences:
    """The shortest training time within one engine, and how far ahead of the next."""
    for field in fields:
        if len(field) > 1:
            first, second = field[:2]
            yield (
                f"With {first.trained_by}, {first.place} {comparison.leader(field, 'machines')}:"
                f" {first.train_s} of training; the next, {second.place},"
                f" {second.train_s}, {against(beside(second, first))}{versions(first, second)}.",
                (first, second),
            )


def accelerators(rows: Rows, fields: Fields) -> Sentences:
    """The first of the accelerators beside the first of the CPUs."""
    sides = comparison.ACCELERATOR, comparison.CPU
    return _between(rows, fields, sides, lambda one, other: True)


def cloud_and_local(rows: Rows, fields: Fields) -> Sentences:
    """The first of the clouds beside the first of the local machines, on another computer."""
    sides = comparison.CLOUD, comparison.HOME
    return _between(rows, fields, sides, _on_other_hosts)


def resource_use(rows: Rows, _: Fields) -> Sentences:
    """Memory and processors row by row, memory beside the smallest row's; energy."""
    used = list(filter(sound, rows))
    if not used:
        yield "Nothing can be said yet. Missing: a standard run in the stock division.", ()
        return
    if memory := _least_first(used, "resources.rss_peak_mib"):
        said = _some(
            f"{row.ref} {figure(mib)} MiB{_busy(row)} (n = {row.n})" for mib, row in memory
        )
        yield f"Memory at its peak, the smallest row first: {said}.", _named(memory)
    if metered := _least_first(used, "resources.energy_j"):
        said = _some(f"{row.ref} {figure(joule / 1000)} kJ (n = {row.n})" for joule, row in metered)
        yield f"Energy of a run where it was metered: {said}.", _named(metered)
    else:
        yield "Of energy nothing can be said. Missing: a run on a machine that meters it.", ()


def cost_effectiveness(rows: Rows, fields: Fields) -> Sentences:
    """What a run costs on each machine, within one engine."""
    priced = [[row for row in field if row.cost.amount is not None] for field in fields]
    free = [[row for row in field if row.cost.free] for field in fields]
    for costing, others in zip(priced, free, strict=True):
        # what nobody can convert stands behind what has dollars
        costing.sort(key=lambda row: (row.cost.usd is None, row.cost.usd or 0.0))
        for what, named in (("a run costs", costing), ("free of charge", others)):
            if named:
                said = _some(f"{_priced(row)}, in {row.train_s} of training" for row in named)
                yield f"With {named[0].trained_by}, {what}: {said}.", named[:MOST_NAMED]
    if not any(priced + free):
        if comparison.there_are(rows, comparison.PRICED):
            yield comparison.missing(rows, comparison.PRICED), ()
        else:
            yield UNPRICED if fields else comparison.missing(rows, comparison.ANYWHERE), ()


def time_to_accuracy(_: Rows, fields: Fields) -> Sentences:
    """Who is first at 99 %, on the training clock."""
    clock = "on the training clock, which stands still during evaluations"
    for field in fields:
        # where some runs never get there, the rest are the lucky ones
        arrived = [row for row in field if row.reached[TARGET].n == row.n]
        arrived.sort(key=lambda row: row.reached[TARGET].train_s or 0.0)
        if not arrived:
            continue
        first, *others = arrived
        with_first = f"With {first.trained_by}, {first.place} is"
        after = f"after {figure(first.reached[TARGET].train_s or 0.0)} s {clock}"
        if not others:
            yield f"{with_first} at 99 % {after}.", (first,)
            continue
        later = ratio(_arrivals(others[0]), _arrivals(first))
        yield (
            f"{with_first} {'' if later.tells_apart else 'by median '}the first at"
            f" 99 % of {len(arrived)} machines whose runs all get there, {after}; the next,"
            f" {others[0].place}, {against(later)}.",
            (first, others[0]),
        )


def frameworks(rows: Rows, _: Fields) -> Sentences:
    """Engines on one machine by one program version."""
    found: dict[tuple[object, ...], list[Row]] = {}
    for row in filter(comparable, rows):
        # by two versions of this program an engine may be two engines
        programs = set(row.over("software.program_version"))
        if len(programs) == 1:
            key = row.key
            place = (key.platform, key.rehearsal, key.machine, key.precision)
            found.setdefault((programs.pop(), *place), []).append(row)
    for (program, *_place), members in found.items():
        ordered = comparison.newest(members, lambda row: row.engine)
        first, *others = ordered
        if not others:
            continue
        said = "; ".join(
            f"{row.engine} (n = {row.n}) {against(beside(row, first))}" for row in others
        )
        precision = "" if first.key.precision == "float32" else f" in {first.key.precision}"
        yield (
            f"On {first.label}, {first.machine}{precision}, by program version {program},"
            f" {first.engine} (n = {first.n}) {comparison.leader(ordered, 'frameworks')}:"
            f" {first.train_s} of training; {said}.",
            ordered,
        )


def switches_and_kernels(rows: Rows, _: Fields) -> Sentences:
    """What tuned and open add to their own stock row: one sentence a machine and framework."""
    stock = {row.key.stock: row for row in filter(comparable, rows)}
    found: dict[str, list[Row]] = {}
    for row in rows:
        base = stock.get(row.key.stock)
        if base and row.key.division != "stock" and comparison.trusted(row) and row.n >= ENOUGH:
            found.setdefault(base.ref, []).append(row)
    # in the order of the rows, the fastest stock first
    for base in stock.values():
        if members := found.get(base.ref, [])[:MOST_NAMED]:
            said = "; ".join(_beside_stock(row, base) for row in members)
            yield f"On {base.place} with {base.trained_by}: {said}.", (base, *members)


def accuracy(rows: Rows, _: Fields) -> Sentences:
    """Which rows pass the gate, which are not shown to, and which are not judged."""
    judged = {
        outcome: [r for r in rows if r.category == "standard" and r.gate.outcome == outcome]
        for outcome in (PASSES, NOT_SHOWN, NOT_JUDGED)
    }
    if passed := sorted(judged[PASSES], key=lambda row: row.accuracy.median):
        low, high = passed[0], passed[-1]
        if low is high:
            yield f"1 row passes the accuracy gate: {low.accuracy}.", (low,)
        else:
            span = f"medians from {low.accuracy} to {high.accuracy}"
            yield f"{len(passed)} rows pass the accuracy gate: {span}.", (low, high)
    # each by name, with its numbers: it is a fast row that may have trained less
    for row in judged[NOT_SHOWN]:
        yield f"{row.name} is {NOT_SHOWN}: {row.gate.basis}.", (row,)
    if unjudged := judged[NOT_JUDGED]:
        reasons = "; ".join(sorted({row.gate.basis for row in unjudged}))
        said = "1 row is" if len(unjudged) == 1 else f"{len(unjudged)} rows are"
        yield f"{said} {NOT_JUDGED} ({reasons}).", unjudged[:MOST_NAMED]


def where_time_goes(rows: Rows, _: Fields) -> Sentences:
    """Shares of the whole, row by row."""
    for row in filter(sound, rows):
        shares = sorted(
            ((_share(row, phase), name) for phase, name in PHASES.items()), reverse=True
        )
        said = ", ".join(f"{name} {100 * share:.1f} %" for share, name in shares[:4])
        yield f"{row.ref} (n = {row.n}): {said}{_waiting(row)}.", (row,)


TOPICS: dict[str, Callable[[Rows, Fields], Sentences]] = {
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


def _between(
    rows: Rows, fields: Fields, sides: tuple[Side, Side], differ: Callable[[Row, Row], bool]
) -> Sentences:
    """The first rows of two sides beside each other, or what is missing for that."""
    said = False
    for field in fields:
        ours, theirs = (list(filter(side.holds, field)) for side in sides)
        # the first of each side alone: a row that its own side beats answers no question
        if ours and theirs and differ(ours[0], theirs[0]):
            said = True
            fast, slow = sorted((ours[0], theirs[0]), key=lambda row: row.train_s.median)
            yield (
                f"With {fast.trained_by}, {comparison.best(ours, sides[0].noun)} takes"
                f" {ours[0].train_s} of training, {comparison.best(theirs, sides[1].noun)}"
                f" {theirs[0].train_s}: {slow.ref} {against(beside(slow, fast))}"
                f"{versions(fast, slow)}.",
                (ours[0], theirs[0]),
            )
    if not said:
        yield comparison.missing(rows, *sides), ()


def _on_other_hosts(one: Row, other: Row) -> bool:
    return one.key.machine.host != other.key.machine.host


def _least_first(rows: Rows, reading: str) -> list[tuple[float, Row]]:
    """The median of a reading, and its row, of the rows that have one."""
    found = [(value, row) for row in rows if (value := row.typical(reading))]
    return sorted(found, key=lambda pair: pair[0])


def _named(pairs: Sequence[tuple[float, Row]]) -> list[Row]:
    return [row for _, row in pairs[:MOST_NAMED]]


def _busy(row: Row) -> str:
    cpu_percent = row.typical("resources.cpu_percent")
    gpu_percent = row.typical("resources.gpu_percent")
    said = f", {cpu_percent / 100:.1f} CPUs busy" if cpu_percent else ""
    return said + (f", GPU busy {gpu_percent:.0f} % of the time" if gpu_percent else "")


def _share(row: Row, phase: str) -> float:
    """The median share of a phase in the whole time, 0 to 1."""
    spent = zip(row.over(f"timing.{phase}_s"), row.total_s.points, strict=True)
    # of the runs' shares: medians of phases may be of different runs and exceed the whole
    return median([part_s / total_s for part_s, total_s in spent if total_s] or [0.0])


def _waiting(row: Row) -> str:
    waits = row.over("timing.data_wait_s")
    # unknown in one run is unknown of the row
    if None in waits or not all(row.train_s.points):
        return ""
    share = median(map(truediv, waits, row.train_s.points))
    return f"; {waited(f'{100 * share:.1f} %', row.newest)}"


def _beside_stock(row: Row, base: Row) -> str:
    found = beside(row, base)
    if not found.may_be_said:
        said = "has a ratio to stock too uncertain to be said"
    elif not found.tells_apart:
        said = "cannot be told apart from stock"
    else:
        said = f"takes {times(found.value, found.interval)} as long as stock"
    return f"{row.division} (n = {row.n}) {said}"


def _arrivals(row: Row) -> Sequence[float]:
    return [time_to(run, TARGET) or 0.0 for run in row.runs]


def _priced(row: Row) -> str:
    return row.place if row.cost.free else f"{row.place} {row.cost.full_text()}"


def _some(texts: Iterable[str]) -> str:
    listed = list(texts)
    more = len(listed) - MOST_NAMED
    return "; ".join(listed[:MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")
