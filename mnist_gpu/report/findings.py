"""Sentences that the data make: with numbers, n and rows; none without data behind it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import fmean, median

from mnist_gpu.report.groups import same_machine
from mnist_gpu.report.numbers import figure, money, percent, seconds, times
from mnist_gpu.report.rows import Row
from mnist_gpu.report.statistics import SIGNIFICANT, Ratio, ratio

Rows = Sequence[Row]


@dataclass(frozen=True)
class Finding:
    """One sentence and the rows it rests on."""

    topic: str
    text: str
    refs: tuple[str, ...]


def find(rows: Rows) -> list[Finding]:
    """Every finding that standard runs of sound accuracy support, in a fixed order."""
    sound = [row for row in rows if row.category == "standard" and row.gate.passed is not False]
    return [finding for maker in MAKERS for finding in maker(sound)]


def fastest(rows: Rows) -> Iterator[Finding]:
    """The shortest training time, and how far ahead of the next."""
    ordered = sorted(rows, key=_time)
    if not ordered:
        return
    first = ordered[0]
    text = f"{_said(first)} is the fastest of {_plural(len(rows), 'configuration')}"
    text += f": {seconds(first.train_s.median, first.train_s.sd)} of training"
    if len(ordered) > 1:
        second = ordered[1]
        text += f"; the next, {_said(second)}, takes {_compared(second, first)} as long"
    yield Finding("Fastest", f"{text}.", tuple(row.ref for row in ordered[:2]))


def best_value(rows: Rows) -> Iterator[Finding]:
    """The cheapest run among those that cost something that dollars can express."""
    priced = sorted(
        (row for row in rows if row.cost.usd is not None), key=lambda row: row.cost.usd or 0.0
    )
    if len(priced) > 1:
        first, last = priced[0], priced[-1]
        text = (
            f"{_said(first)} is the cheapest of {len(priced)} priced configurations:"
            f" {_usd(first)} a run, against {_usd(last)} for {_said(last)}"
        )
        yield Finding("Best value", f"{text}.", (first.ref, last.ref))
    free = sorted((row for row in rows if row.cost.free), key=_time)
    if free:
        first = free[0]
        text = f"{_said(first)} is the fastest that is free of charge:"
        text += f" {seconds(first.train_s.median, first.train_s.sd)}"
        yield Finding("Best value", f"{text}.", (first.ref,))


def cloud_against_local(rows: Rows) -> Iterator[Finding]:
    """The fastest of either kind."""
    yield from _best_against_best(
        rows,
        "Cloud against local",
        ("cloud or research cloud", lambda row: row.group.newest.platform.kind != "local"),
        ("local", lambda row: row.group.newest.platform.kind == "local"),
    )


def gpu_against_cpu(rows: Rows) -> Iterator[Finding]:
    """The fastest of either kind."""
    yield from _best_against_best(
        rows,
        "GPU against CPU",
        ("GPU", lambda row: not row.group.on_cpu),
        ("CPU", lambda row: row.group.on_cpu),
    )


def lightning_against_loop(rows: Rows) -> Iterator[Finding]:
    """What the Trainer costs, machine by machine."""
    yield from _on_one_machine(rows, "Lightning against the plain loop", "lightning", "torch")


def keras_against_torch(rows: Rows) -> Iterator[Finding]:
    """Keras beside PyTorch, machine by machine."""
    yield from _on_one_machine(rows, "Keras against PyTorch", "keras", "torch", "lightning")


def tensorflow_against_torch(rows: Rows) -> Iterator[Finding]:
    """TensorFlow beside PyTorch, machine by machine."""
    yield from _on_one_machine(
        rows, "TensorFlow against PyTorch", "tensorflow", "torch", "lightning"
    )


def where_time_goes(rows: Rows) -> Iterator[Finding]:
    """Shares of the whole, over all standard runs."""
    runs = [run for row in rows for run in row.group.runs]
    if not runs:
        return
    shares = {
        phase: median(
            getattr(run.record.timing, f"{phase}_s") / run.record.timing.total_s for run in runs
        )
        for phase in ("train", "eval", "startup", "data", "build", "warmup", "checkpoint", "other")
    }
    named = {"train": "training", "eval": "evaluation", "startup": "start-up", "warmup": "warm-up"}
    ordered = sorted(shares.items(), key=lambda item: -item[1])[:4]
    said = ", ".join(f"{named.get(phase, phase)} {share:.1%}" for phase, share in ordered)
    text = f"Of the whole time of a run, the median share over n = {len(runs)} is: {said}."
    yield Finding("Where time goes", text, tuple(row.ref for row in rows[:8]))


def resources(rows: Rows) -> Iterator[Finding]:
    """The least energy, and how busy the processors were."""
    metered = [
        (fmean(energies), len(energies), row)
        for row in rows
        if (energies := [e for run in row.group.runs if (e := run.record.resources.energy_j)])
    ]
    if len(metered) > 1:
        energy_j, n, row = min(metered, key=lambda item: item[0])
        most_j, most_n, other = max(metered, key=lambda item: item[0])
        text = (
            f"{row.name} used the least energy of {len(metered)} metered configurations:"
            f" {figure(energy_j / 1000)} kJ a run (n = {n}), against"
            f" {figure(most_j / 1000)} kJ (n = {most_n}) for {other.name}"
        )
        yield Finding("Energy", f"{text}.", (row.ref, other.ref))
    for row in rows[:1]:
        peaks = [p for run in row.group.runs if (p := run.record.resources.rss_peak_mib)]
        busy = [p for run in row.group.runs if (p := run.record.resources.cpu_percent)]
        if peaks and busy:
            text = (
                f"{row.name} held {figure(median(peaks))} MiB of memory at its peak and kept"
                f" {median(busy) / 100:.1f} CPUs busy (medians, n = {len(peaks)})"
            )
            yield Finding("Resource use", f"{text}.", (row.ref,))


def time_to_accuracy(rows: Rows) -> Iterator[Finding]:
    """Who is first at 99 %."""
    arrived = [(row.reached[0.99].train_s, row) for row in rows if row.reached[0.99].train_s]
    if arrived:
        elapsed_s, row = min(arrived, key=lambda item: item[0] or 0.0)
        reached = row.reached[0.99]
        text = (
            f"{row.name} is the first at 99 % on the test set: after {figure(elapsed_s or 0)} s"
            f" of training (median of {reached.n} of {reached.of} runs that got there)"
        )
        yield Finding("Time to accuracy", f"{text}.", (row.ref,))


def accuracy(rows: Rows) -> Iterator[Finding]:
    """Whether all trained the same thing."""
    judged = [row for row in rows if row.gate.passed]
    if len(judged) > 1:
        low = min(judged, key=lambda row: row.accuracy.mean)
        high = max(judged, key=lambda row: row.accuracy.mean)
        text = (
            f"All {len(judged)} configurations that pass the accuracy gate lie between"
            f" {percent(low.accuracy.mean, low.accuracy.sd)} (n = {low.n}) and"
            f" {percent(high.accuracy.mean, high.accuracy.sd)} (n = {high.n})"
        )
        yield Finding("Accuracy", f"{text}.", (low.ref, high.ref))


MAKERS: tuple[Callable[[Rows], Iterator[Finding]], ...] = (
    fastest,
    time_to_accuracy,
    best_value,
    gpu_against_cpu,
    cloud_against_local,
    lightning_against_loop,
    keras_against_torch,
    tensorflow_against_torch,
    accuracy,
    where_time_goes,
    resources,
)


def _best_against_best(
    rows: Rows,
    topic: str,
    one: tuple[str, Callable[[Row], bool]],
    other: tuple[str, Callable[[Row], bool]],
) -> Iterator[Finding]:
    first = min(filter(one[1], rows), key=_time, default=None)
    second = min(filter(other[1], rows), key=_time, default=None)
    if first is None or second is None:
        return
    slow, fast = (first, second) if _time(first) >= _time(second) else (second, first)
    text = (
        f"The fastest {one[0]} row, {_said(first)}, takes"
        f" {seconds(first.train_s.median, first.train_s.sd)}; the fastest {other[0]} row,"
        f" {_said(second)}, {seconds(second.train_s.median, second.train_s.sd)}:"
        f" {slow.ref} takes {_compared(slow, fast)} as long as {fast.ref}"
    )
    yield Finding(topic, f"{text}.", (first.ref, second.ref))


def _on_one_machine(rows: Rows, topic: str, engine: str, *others: str) -> Iterator[Finding]:
    by_ref = {row.ref: row for row in rows}
    for (_, machine), groups in same_machine([row.group for row in rows]).items():
        pairs = [
            (by_ref[one.ref], by_ref[other.ref])
            for one, other in product(groups, groups)
            if one.configuration.engine == engine
            and other.configuration.engine in others
            and one.configuration.precision == other.configuration.precision
        ]
        if pairs:
            # the best that either can do there
            row, rival = min(pairs, key=lambda pair: (_time(pair[0]), _time(pair[1])))
            text = (
                f"On {row.label} ({machine}), {row.engine} takes {_compared(row, rival)} as long"
                f" as {rival.engine} (n = {row.n} and {rival.n})"
            )
            yield Finding(topic, f"{text}.", (row.ref, rival.ref))


def _compared(slow: Row, fast: Row) -> str:
    found: Ratio = ratio(slow.group.train_s, fast.group.train_s)
    text = times(found.value, found.interval)
    if found.p is not None:
        verdict = "" if found.p < SIGNIFICANT else ", not significant"
        text = f"{text[:-1]}, rank test p = {found.p:.2g}{verdict})" if found.interval else text
    return text


def _said(row: Row) -> str:
    return f"{row.name} (n = {row.n})"


def _usd(row: Row) -> str:
    return f"{row.cost.estimate} {money(row.cost.usd or 0.0, 'USD')}".strip()


def _time(row: Row) -> float:
    return row.train_s.median


def _plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
