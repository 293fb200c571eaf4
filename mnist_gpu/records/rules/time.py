"""Rules on time: the parts are the whole, and a clock was there."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from statistics import median

from mnist_gpu.records.facts import limits
from mnist_gpu.records.rules.registry import (
    Finding,
    column,
    differs,
    exceeding,
    first,
    rule,
    unequal,
)
from mnist_gpu.records.schema import Record

BEFORE = ("startup_s", "data_s", "build_s", "warmup_s")
# while these last, the sampler runs
SAMPLED = ("train_s", "eval_s", "checkpoint_s", "other_s")
LIMIT = limits()


def sampled_s(record: Record) -> float:
    """Seconds during which the sampler ran."""
    return float(sum(getattr(record.timing, name) for name in SAMPLED))


def own_classes(record: Record) -> bool:
    """Whether a configured trainer or callback may have changed steps and phases."""
    declared = " ".join(record.workload.deviations)
    return "trainer." in declared or "callbacks " in declared


@rule
def phases_add_up(record: Record) -> Iterable[Finding]:
    """The eight phases are the whole, within a microsecond."""
    total_s = sum(getattr(record.timing, name) for name in BEFORE + SAMPLED)
    stated = [("timing.total_s", record.timing.total_s, total_s)]
    return unequal(stated, "the phases add up to", differs)


@rule
def epochs_in_order(record: Record) -> Iterator[Finding]:
    """Epochs are numbered from 1, and none is missing or too many."""
    numbers = column(record, "epoch")
    wrong = (number != place for place, number in enumerate(numbers, start=1))
    yield from first(record, "epoch", wrong, "epochs are numbered from 1, and none is missing")
    asked = record.workload.epochs
    if len(numbers) > asked or (record.status == "completed" and len(numbers) != asked):
        yield "epochs", f"has {len(numbers)} epochs; workload.epochs says {asked}"


@rule
def epochs_add_up(record: Record) -> Iterator[Finding]:
    """The epochs' times are those of the phases."""
    for field in ("train_s", "eval_s"):
        sum_s, stated_s = sum(column(record, field)), getattr(record.timing, field)
        # a phase may hold more: an epoch that was cut off, an evaluation outside the epochs
        exact = field == "train_s" and record.status == "completed"
        if differs(stated_s, sum_s) and (exact or sum_s > stated_s):
            yield f"timing.{field}", f"is {stated_s}, but the epochs add up to {sum_s}"


@rule
def epoch_figures(record: Record) -> Iterable[Finding]:
    """First and steady epoch follow from the epochs."""
    timing, times = record.timing, column(record, "train_s")
    steady_s = median(times[1:]) if len(times) > 1 else None
    stated = [
        ("timing.first_epoch_s", timing.first_epoch_s, times[0] if times else None),
        ("timing.steady_epoch_s", timing.steady_epoch_s, steady_s),
    ]
    return unequal(stated, "the epochs give", differs)


@rule
def rates(record: Record) -> Iterable[Finding]:
    """Rates follow from epochs, workload and time."""
    work, result, train_s = record.workload, record.result, record.timing.train_s
    images = len(record.epochs) * work.n_train
    per_s = images / train_s if train_s else 0.0
    # nothing to train on has no arithmetic: 0 and null say so alike
    stated = [
        ("result.images_per_s", result.images_per_s or None, per_s or None),
        ("result.flops_per_s", result.flops_per_s or None, per_s * work.flops_per_sample or None),
    ]
    differ = partial(differs, relative=1e-6, least=0.0)
    return unequal(stated, "epochs over train_s give", differ)


@rule
def sampler_agrees(record: Record) -> Iterator[Finding]:
    """The sampler looks once a second while a run trains, evaluates, saves and does other things;
    times that were shortened or stretched afterwards do not fit its count."""
    samples, seconds, segments = record.resources.samples, sampled_s(record), record.timing.segments
    on_cpu = record.hardware.accelerator == "cpu"
    share = LIMIT.least_sampled_cpu if on_cpu else LIMIT.least_sampled_gpu
    least = share * seconds - LIMIT.sampler_edge_s * segments
    if samples > seconds + segments or (samples < least and record.status == "completed"):
        yield "resources.samples", f"is {samples}; one a second, they are to be some {seconds:.0f}"


@rule
def phases_have_their_share(record: Record) -> Iterator[Finding]:
    """Every phase of a completed run takes some time, and none takes what belongs to training."""
    if record.status != "completed":
        return
    timing, train_s = record.timing, record.timing.train_s
    for name in BEFORE + SAMPLED:
        if not getattr(timing, name) > 0:
            yield f"timing.{name}", f"is {getattr(timing, name)}: nothing takes no time"
    limits = {
        "warmup_s": 600 + 0.25 * train_s,
        "other_s": 30 + 0.1 * train_s,
        "checkpoint_s": 120 + 0.5 * train_s,
    }
    if not own_classes(record):
        yield from exceeding(timing, "timing", limits, f"too much beside {train_s} s of training")


@rule
def clock_digits(record: Record) -> Iterator[Finding]:
    """Times are whole nanoseconds of a clock: scaled ones have more digits, typed ones fewer, and
    epochs of a run do not take the same time."""
    for field in ("train_s", "eval_s"):
        times, coarse_s, slack = column(record, field), LIMIT.coarse_s, LIMIT.nanosecond_slack
        nanoseconds = [1e9 * seconds for seconds in times]
        # long times have fewer digits after the point
        broken = (abs(ns - round(ns)) > slack + 1e-15 * ns for ns in nanoseconds)
        yield from first(record, field, broken, "no whole number of nanoseconds")
        if len(times) > 1 and all(abs(s / coarse_s - round(s / coarse_s)) < 1e-6 for s in times):
            yield f"epochs.*.{field}", "are all rounded: the clock has nine digits"
        if len(times) > 2 and _too_many_equal(times):
            yield f"epochs.*.{field}", "are not distinct: no two epochs take the same nanoseconds"


def _too_many_equal(times: Sequence[float]) -> bool:
    """Whether more times are equal than a coarse clock could bring about in so narrow a range."""
    n, equal = len(times), len(times) - len(set(times))
    ticks = max(1.0, (max(times) - min(times)) / LIMIT.coarsest_tick_s)
    return 2 * equal >= n or equal > 1000 * n * n / (2 * ticks)


@rule
def times_are_measured(record: Record) -> Iterator[Finding]:
    """Epoch times scatter: they do not rise or fall for long, nor repeat themselves."""
    times, field = column(record, "train_s")[1:], "epochs.*.train_s"
    if len(times) < LIMIT.smooth_from:
        return
    if all(a < b for a, b in pairwise(times)) or all(a > b for a, b in pairwise(times)):
        yield field, f"rise, or fall, in each of {len(times)} epochs"
    if max(times) - min(times) < LIMIT.steadiest * median(times):
        yield field, "are steadier than any clock"
    half = len(times) // 2
    if _rank_correlation(times[:half], times[-half:]) > LIMIT.alike:
        yield field, "rise and fall alike in both halves: doubled"


def _rank_correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Spearman's, of distinct values."""
    # equal times, of which `clock_digits` lets few pass, share the last of their ranks
    n = len(one)
    left, right = ({value: rank for rank, value in enumerate(sorted(v))} for v in (one, other))
    squares = sum((left[a] - right[b]) ** 2 for a, b in zip(one, other, strict=True))
    return 1 - 6 * squares / (n * (n * n - 1))


@rule
def waits_within_training(record: Record) -> Iterator[Finding]:
    """The wait for batches is part of the training: of each epoch, and of the sum."""
    timing, waits = record.timing, column(record, "data_wait_s")
    known = None not in waits and bool(waits)
    limits = column(record, "train_s")
    longer = (
        wait is not None and wait > train_s + 1e-6
        for wait, train_s in zip(waits, limits, strict=True)
    )
    yield from first(record, "data_wait_s", longer, "more than the train_s of that epoch")
    stated = [("timing.data_wait_s", timing.data_wait_s, sum(waits) if known else None)]
    yield from unequal(stated, "the epochs give", differs)
    if timing.data_wait_s is None and "data_wait_s" not in timing.reasons:
        yield "timing.reasons", "does not say why there is no data_wait_s"
