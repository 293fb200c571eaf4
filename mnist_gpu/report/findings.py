"""Sentences that the data make: with numbers, n and rows; none that the data do not bear.

One paragraph a topic. Those of the project's four questions are always there, and say which run is
missing where nothing may be said.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from mnist_gpu.records.schema import Record
from mnist_gpu.report import comparison
from mnist_gpu.report.comparison import Field, Rows, Side, against, comparable, sound, versions
from mnist_gpu.report.numbers import counted, figure, times
from mnist_gpu.report.rows import NOT_JUDGED, NOT_SHOWN, PASSES, Row
from mnist_gpu.report.statistics import ratio, time_to

TARGET = 0.99
MOST_SENTENCES = 8
MOST_NAMED = 6
# a device that is busy for less than this waits for the host most of the time
HALF_BUSY_PERCENT = 50
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


@dataclass(frozen=True)
class Finding:
    """One sentence of a paragraph and the rows it rests on; none where it names what is missing."""

    topic: str
    text: str
    refs: tuple[str, ...] = ()


def find(rows: Rows) -> list[Finding]:
    """Every sentence that the rows bear, in a fixed order."""
    comparisons = comparison.fields(rows)
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
            leads = comparison.leader(field.rows, "machines")
            yield (
                f"With {field.engine}, {first.place} {leads}: {first.training_time} of training;"
                f" the next, {second.place}, {second.training_time},"
                f" {against(second, first)}{versions(first, second)}.",
                (first, second),
            )


def accelerators(rows: Rows, comparisons: list[Field]) -> Sentences:
    """The first of the accelerators beside the first of the CPUs."""
    found = list(_between(comparisons, comparison.ACCELERATOR, comparison.CPU))
    missing = comparison.missing(rows, comparison.ACCELERATOR, comparison.CPU)
    yield from found or [(missing, ())]


def cloud_and_local(rows: Rows, comparisons: list[Field]) -> Sentences:
    """The first of the clouds beside the first of the local machines."""
    found = [
        (text, (cloud, home))
        for text, (cloud, home) in _between(comparisons, comparison.CLOUD, comparison.HOME)
        if cloud.key.machine.host != home.key.machine.host
    ]
    yield from found or [(comparison.missing(rows, comparison.CLOUD, comparison.HOME), ())]


def resource_use(rows: Rows, comparisons: list[Field]) -> Sentences:
    """Memory and processors row by row, memory beside the smallest row's; energy."""
    used = list(filter(sound, rows))
    if not used:
        yield "Nothing can be said yet. Missing: a standard run in the stock division.", ()
        return
    memory, metered = _least_first(used, "rss_peak_mib"), _least_first(used, "energy_j")
    if memory:
        said = _some(
            f"{row.ref} {figure(peak)} MiB{_busy(row)} (n = {row.n})" for row, peak in memory
        )
        yield f"Memory at its peak, the smallest row first: {said}.", _rows(memory)
    if metered:
        said = _some(
            f"{row.ref} {figure(energy_j / 1000)} kJ (n = {row.n})" for row, energy_j in metered
        )
        yield f"Energy of a run where it was metered: {said}.", _rows(metered)
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
            if named:
                said = True
                listed = _some(
                    f"{row.place} {_cost(row)}".rstrip() + f", in {row.training_time} of training"
                    for row in named
                )
                yield f"With {field.engine}, {what}: {listed}.", named[:MOST_NAMED]
    if not said:
        yield UNPRICED if comparisons else comparison.missing(rows, comparison.ANYWHERE), ()


def time_to_accuracy(rows: Rows, comparisons: list[Field]) -> Sentences:
    """Who is first at 99 %, on the training clock."""
    clock = "on the training clock, which stands still during evaluations"
    for field in comparisons:
        arrived = [row for row in field.rows if row.reached[TARGET].n == row.n]
        arrived.sort(key=_arrival)
        if not arrived:
            continue
        first = arrived[0]
        after = f"after {figure(_arrival(first))} s {clock}"
        if len(arrived) == 1:
            yield f"With {field.engine}, {first.place} is at 99 % {after}.", (first,)
            continue
        apart = comparison.is_apart(arrived[1], first, _arrivals)
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
        programs = row.software("program_version")
        if len(programs) == 1:
            key = row.key
            place = (key.platform, key.rehearsal, key.machine, key.precision)
            found.setdefault((programs.pop(), *place), []).append(row)
    for (program, *_), members in found.items():
        ordered = comparison.newest(members, lambda row: row.engine)
        if len(ordered) < 2:
            continue
        first = ordered[0]
        others = "; ".join(
            f"{row.engine} (n = {row.n}) {against(row, first)}" for row in ordered[1:]
        )
        precision = "" if first.key.precision == "float32" else f" in {first.key.precision}"
        yield (
            f"On {first.label}, {first.machine}{precision}, by program version {program},"
            f" {first.engine} (n = {first.n}) {comparison.leader(ordered, 'frameworks')}:"
            f" {first.training_time} of training; {others}.",
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
        if low is high:
            yield f"1 row passes the accuracy gate: {low.test_accuracy}.", (low,)
        else:
            span = f"medians from {low.test_accuracy} to {high.test_accuracy}"
            yield f"{len(passed)} rows pass the accuracy gate: {span}.", (low, high)
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
            ((_share(row, phase), name) for phase, name in PHASES.items()), reverse=True
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


def _between(comparisons: list[Field], one: Side, other: Side) -> Iterator[tuple[str, list[Row]]]:
    """The first rows of two sides beside each other, a sentence for each field that has both."""
    for field in comparisons:
        sides = [(list(filter(side.holds, field.rows)), side.noun) for side in (one, other)]
        if all(there for there, _ in sides):
            ours, theirs = (there[0] for there, _ in sides)
            first, second = (comparison.best(there, noun) for there, noun in sides)
            fast, slow = sorted((ours, theirs), key=lambda row: row.train_s.median)
            yield (
                f"With {field.engine}, {first} takes {ours.training_time} of training,"
                f" {second} {theirs.training_time}: {slow.ref}"
                f" {against(slow, fast)}{versions(fast, slow)}.",
                [ours, theirs],
            )


def _least_first(rows: Rows, reading: str) -> list[tuple[Row, float]]:
    """The rows that have a reading of `resources`, and its median."""
    found = [(row, value) for row in rows if (value := row.used(reading))]
    return sorted(found, key=lambda pair: pair[1])


def _rows(pairs: Sequence[tuple[Row, float]]) -> list[Row]:
    return [row for row, _ in pairs[:MOST_NAMED]]


def _busy(row: Row) -> str:
    cpu_percent, gpu_percent = row.used("cpu_percent"), row.used("gpu_percent")
    said = f", {cpu_percent / 100:.1f} CPUs busy" if cpu_percent else ""
    return said + (f", GPU busy {gpu_percent:.0f} % of the time" if gpu_percent else "")


def _share(row: Row, phase: str) -> float:
    """The median share of a phase in the whole time, 0 to 1."""
    timings = [run.record.timing for run in row.runs]
    return median([getattr(t, f"{phase}_s") / t.total_s for t in timings if t.total_s] or [0.0])


def _waiting(row: Row) -> str:
    timings = [run.record.timing for run in row.runs]
    known = [t for t in timings if t.data_wait_s is not None and t.train_s]
    if len(known) < row.n:
        return ""
    waits = [(t.data_wait_s or 0.0) / t.train_s for t in known]
    return f"; {100 * median(waits):.1f} % of the training waited for data"


def _bears_a_ratio(row: Row) -> bool:
    return row.category == "standard" and row.n > 2 and not row.doubts and not row.gate.failed


def _beside_stock(row: Row, base: Row) -> str:
    found = ratio(row.train_s.points, base.train_s.points)
    if not found.may_be_said:
        said = "has a ratio to stock too uncertain to be said"
    elif not found.tells_apart:
        said = "cannot be told apart from stock"
    else:
        said = f"takes {times(found.value, found.interval)} as long as stock"
    return f"{row.division} (n = {row.n}) {said}"


def _arrival(row: Row) -> float:
    return row.reached[TARGET].train_s or 0.0


def _arrivals(row: Row) -> Sequence[float]:
    return [time_to(run, TARGET) or 0.0 for run in row.runs]


def _cost(row: Row) -> str:
    dollars = row.cost.usd_text()
    said = "" if row.cost.free else row.cost.text()
    return f"{said} ({dollars})" if dollars else said


def _some(texts: Iterable[str]) -> str:
    listed = list(texts)
    more = len(listed) - MOST_NAMED
    return "; ".join(listed[:MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")


def remarks(record: Record) -> list[str]:
    """What the record's own readings say; nothing of what was not measured."""
    timing, used = record.timing, record.resources
    found = []
    if timing.data_wait_s is not None and timing.train_s:
        found.append(f"{timing.data_wait_s / timing.train_s:.0%} of training waited for data")
    if used.gpu_percent is not None:
        busy = f"the GPU was busy {used.gpu_percent:.0f} % of the time"
        if used.gpu_percent < HALF_BUSY_PERCENT:
            busy += f": batches of {record.workload.batch_size} are too small to fill it"
        found.append(busy)
    if record.epochs and timing.train_s < timing.total_s / 2:
        before = {
            "starting Python and its libraries": timing.startup_s,
            "data": timing.data_s,
            "building": timing.build_s,
            "warming up": timing.warmup_s,
            "evaluating": timing.eval_s,
            "checkpoints": timing.checkpoint_s,
        }
        most = max(before, key=lambda what: before[what])
        found.append(
            f"{1 - timing.train_s / timing.total_s:.0%} of the run was not training,"
            f" most of it {most}: {before[most]:.1f} s"
        )
    return found
