"""Rules on time: the parts are the whole, and a clock was there."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from operator import truediv
from statistics import median

from mnist_gpu.protocol.workload import fewest_steps
from mnist_gpu.records.facts import limits
from mnist_gpu.records.rules.registry import (
    Finding,
    differs,
    exceeding,
    first,
    rule,
    unequal,
)
from mnist_gpu.records.rules.repeats import repetition
from mnist_gpu.records.run import column
from mnist_gpu.records.schema import Record

BEFORE = ("startup_s", "data_s", "build_s", "warmup_s")
# while these last, the sampler runs
SAMPLED = ("train_s", "eval_s", "checkpoint_s", "other_s")
LIMIT = limits()
MS_NS = 1_000_000


def sampled_s(record: Record) -> float:
    """Seconds during which the sampler ran."""
    return float(sum(getattr(record.timing, name) for name in SAMPLED))


def own_classes(record: Record) -> bool:
    """Whether a configured trainer or callback may have changed steps and phases."""
    declared = " ".join(record.workload.deviations)
    return "trainer." in declared or "callbacks " in declared


def fewer_steps(record: Record) -> bool:
    """Whether the epochs had fewer steps than the data set has batches."""
    work, epochs = record.workload, len(record.epochs)
    per_epoch, devices = -(-work.n_train // work.batch_size), work.devices * work.num_nodes
    return work.steps_made < fewest_steps(epochs, per_epoch, devices, record.engine.precision)


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
    wrong = [number != place for place, number in enumerate(numbers, start=1)]
    yield from first(record, "epoch", wrong, "epochs are numbered from 1, and none is missing")
    asked = record.workload.epochs
    if len(numbers) > asked or (record.status == "completed" and len(numbers) != asked):
        yield "epochs", f"has {len(numbers)} epochs; workload.epochs says {asked}"
    # what is resumed is an epoch's checkpoint: each segment but the last has ended one
    most = {"segments": len(numbers) + 1}
    yield from exceeding(record.timing, "timing", most, "more than epochs could be resumed from")


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
    # without the first epoch, in which kernels are loaded and chosen
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
    if fewer_steps(record):
        # how many images they had nobody counted
        per_s = 0.0
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
    # on a machine that others keep busy it may look less often; the warning makes a doubted run
    if record.resources.warnings:
        share = LIMIT.least_sampled_disturbed
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
        if getattr(timing, name) < LIMIT.least_phase_s:
            yield f"timing.{name}", f"is {getattr(timing, name)}: nothing takes no time"
    longest = dict.fromkeys(BEFORE, LIMIT.longest_before_s)
    yield from exceeding(timing, "timing", longest, "longer than any start takes")
    if own_classes(record):
        return
    reason = f"too much beside {train_s} s of training"
    yield from exceeding(timing, "timing", _most_beside_training(record), reason)
    evals, most_s = column(record, "eval_s"), _longest_evaluation_s(record)
    # half of them, so that no single one is judged that something came between
    if len(evals) >= LIMIT.smooth_from and median(evals) > most_s:
        yield (
            "epochs.*.eval_s",
            f"are {median(evals):.3f} s: an image takes longer than to train on",
        )


def _most_beside_training(record: Record) -> dict[str, float]:
    """Seconds that a phase may take beside the training, generously."""
    train_s, work = record.timing.train_s, record.workload
    # weights and Adam's two moments in float32, to the slowest of disks, after every epoch; a
    # slower processor does not make the disk slower
    written_mb = 3 * 4 * work.n_parameters / 1e6
    each_s = LIMIT.checkpoint_edge_s + written_mb / LIMIT.slowest_disk_mb_per_s
    # what is compiled may be so once more
    edge_s = 10 if record.engine.compile == "none" else 600
    return {
        "warmup_s": 600 + 0.25 * train_s,
        "other_s": record.timing.segments * edge_s / 2 + LIMIT.other_share * train_s,
        "checkpoint_s": 120 + len(record.epochs) * each_s,
        "eval_s": edge_s + 2 * len(record.epochs) * _longest_evaluation_s(record),
    }


def _longest_evaluation_s(record: Record) -> float:
    """What an evaluation may take, beside an epoch of the same run: by the image it has a third of
    the arithmetic, and larger batches. On a GPU, a step that is replayed on images of the device
    has no part of the host's in it, and an evaluation has."""
    work, times = record.workload, column(record, "train_s")
    # several devices may share the training and leave the evaluation to one
    alone_s = (median(times) if times else 0.0) * work.devices * work.num_nodes
    loaded_s = 0.0 if record.hardware.accelerator == "cpu" else LIMIT.loaded_per_image_s
    each_s = LIMIT.evaluation_per_image * alone_s / max(1, work.n_train) + loaded_s
    return float(each_s * work.n_test)


@rule
def clock_digits(record: Record) -> Iterator[Finding]:
    """Times are whole nanoseconds of a clock: scaled ones have more digits, typed ones fewer, and
    epochs of a run do not take the same time."""
    for field in ("train_s", "eval_s", "data_wait_s"):
        broken = _scaled(column(record, field))
        yield from first(record, field, broken, "no whole number of nanoseconds")
    for field in ("train_s", "eval_s"):
        times = column(record, field)
        if _too_many_rounded(times):
            yield f"epochs.*.{field}", "are rounded: the clock has nine digits"
        if len(times) > 2 and _too_many_equal(times):
            yield f"epochs.*.{field}", "are not distinct: no two epochs take the same nanoseconds"
    phases = {f"timing.{name}": getattr(record.timing, name) for name in BEFORE + SAMPLED}
    for field, scaled in zip(phases, _scaled(phases.values()), strict=True):
        if scaled:
            yield field, f"is {phases[field]}: no whole number of nanoseconds"
    typed = [field for field, seconds in phases.items() if seconds and not _ns(seconds) % MS_NS]
    if len(typed) > 1:
        yield typed[0], f"is rounded, as are {', '.join(typed[1:])}: the clock has nine digits"


def _scaled(times: Iterable[float | None]) -> list[bool]:
    """Of each time whether it is no whole number of nanoseconds."""
    slack, all_ns = LIMIT.nanosecond_slack, [1e9 * (seconds or 0.0) for seconds in times]
    # long times have fewer digits after the point
    return [abs(ns - round(ns)) > slack + 1e-15 * ns for ns in all_ns]


def _ns(seconds: float) -> int:
    return round(1e9 * seconds)


def _too_many_rounded(times: Sequence[float]) -> bool:
    """Whether more times are round than a clock brings about: all, or more than a few."""
    n, whole_ns = len(times), list(map(_ns, times))
    coarse_ns, fine_ns = _ns(LIMIT.coarse_s), _ns(LIMIT.fine_s)
    coarse = [ns % coarse_ns for ns in whole_ns].count(0)
    fine = n >= LIMIT.fine_from and not any(ns % fine_ns for ns in whole_ns)
    return n > 1 and (fine or coarse >= min(n, max(3, n / 50)))


def _too_many_equal(times: Sequence[float]) -> bool:
    """Whether more times are equal than a coarse clock could bring about in so narrow a range."""
    n, equal = len(times), len(times) - len(set(times))
    ticks = max(1.0, (max(times) - min(times)) / LIMIT.coarsest_tick_s)
    return 2 * equal >= n or equal > 1000 * n * n / (2 * ticks)


@rule
def times_are_measured(record: Record) -> Iterator[Finding]:
    """Epoch times scatter: they do not rise or fall for long, nor repeat themselves."""
    trains, evals = (column(record, field)[1:] for field in ("train_s", "eval_s"))
    if len(trains) < LIMIT.smooth_from:
        return
    for times, field in ((trains, "epochs.*.train_s"), (evals, "epochs.*.eval_s")):
        if all(a < b for a, b in pairwise(times)) or all(a > b for a, b in pairwise(times)):
            yield field, f"rise, or fall, in each of {len(times)} epochs"
        # a clock that ticks has jitter; a formula has none
        if _steady(times):
            yield field, "are steadier than any clock"
    # two measurements of two things: their ratio scatters as each of them does
    if all(trains) and _steady([b / a for a, b in zip(trains, evals, strict=True)]):
        yield "epochs.*.eval_s", "are always the same share of train_s: worked out from it"
    if where := repetition(trains):
        yield "epochs.*.train_s", f"rise and fall alike {where}: doubled"


def _steady(times: Sequence[float]) -> bool:
    spread_s, most = max(times) - min(times), LIMIT.steadiest
    # the median, which takes longer, is no more than the largest
    return spread_s < most * max(times) and spread_s < most * median(times)


@rule
def waits_within_training(record: Record) -> Iterator[Finding]:
    """The wait for batches is part of the training: of each epoch, and of the sum."""
    timing, waits = record.timing, column(record, "data_wait_s")
    known = None not in waits and bool(waits)
    limits = column(record, "train_s")
    longer = [
        wait is not None and wait > train_s + 1e-6
        for wait, train_s in zip(waits, limits, strict=True)
    ]
    yield from first(record, "data_wait_s", longer, "more than the train_s of that epoch")
    # a machine may stand still for a while, and not most of the time
    if known and all(limits) and median(map(truediv, waits, limits)) > LIMIT.most_waited:
        yield "epochs.*.data_wait_s", "leave nothing of train_s to compute in"
    if len(waits) > 2 and not any(wait is None or wait for wait in waits):
        yield "epochs.*.data_wait_s", "are all 0: nothing takes no time"
    if known and len(waits) >= LIMIT.smooth_from and min(waits) > LIMIT.coarse_s:
        if _steady(waits):
            yield "epochs.*.data_wait_s", "are steadier than any clock"
        if all(limits) and _steady(list(map(truediv, waits, limits))):
            yield "epochs.*.data_wait_s", "are always the same share of train_s: worked out from it"
    # shorter ones may well be a few ticks of the clock
    if known and min(waits) > LIMIT.coarse_s and _too_many_rounded(waits):
        yield "epochs.*.data_wait_s", "are rounded: the clock has nine digits"
    stated = [("timing.data_wait_s", timing.data_wait_s, sum(waits) if known else None)]
    yield from unequal(stated, "the epochs give", differs)
    if timing.data_wait_s is None and "data_wait_s" not in timing.reasons:
        yield "timing.reasons", "does not say why there is no data_wait_s"
