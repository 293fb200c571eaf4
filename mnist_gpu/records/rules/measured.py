"""Rules on what was measured beside the clock: the sampler, the processor's time, the phases."""

from collections.abc import Iterator

from mnist_gpu.records.facts import facts
from mnist_gpu.records.rules.plausible import cpu_bound, peak_flops_per_s
from mnist_gpu.records.rules.registry import Finding, Subject, differs, rule
from mnist_gpu.records.schema import Record

SAMPLED = ("train_s", "eval_s", "checkpoint_s", "other_s")
INTERVAL_S = 1.0
# reading NVML from a busy process takes longer than reading /proc
LEAST_SAMPLED = {"cpu": 0.95, "other": 0.88}
EDGE_S = 3.0
DIGITS = 1e-9
COARSE_S = 1e-4
# of a counter at 24 MHz, as in Apple silicon
COARSEST_TICK_S = 42e-9


def sampled_s(record: Record) -> float:
    """Seconds during which the sampler ran."""
    return float(sum(getattr(record.timing, name) for name in SAMPLED))


@rule
def sampler_agrees(subject: Subject) -> Iterator[Finding]:
    """The sampler looks once a second while a run trains, evaluates, saves and does other things;
    times that were shortened or stretched afterwards do not fit its count."""
    record = subject.record
    samples, seconds = record.resources.samples, sampled_s(record) / INTERVAL_S
    edge = EDGE_S * record.timing.segments
    least = LEAST_SAMPLED["cpu" if record.hardware.accelerator == "cpu" else "other"]
    if samples > seconds + record.timing.segments:
        yield "resources.samples", f"is {samples}, but the sampled phases took {seconds:.1f} s"
    elif samples < least * seconds - edge and record.status == "completed":
        yield "resources.samples", f"is {samples}, too few for {seconds:.1f} s, one each second"


@rule
def processor_time(subject: Subject) -> Iterator[Finding]:
    """On a processor, the CPU time used is enough for the counted operations of all epochs, and
    no more than the CPUs could give."""
    record = subject.record
    percent, hardware = record.resources.cpu_percent, record.hardware
    if percent is None:
        return
    most = 100 * cpu_bound(hardware)
    if percent > most * 1.1 + 5:
        yield "resources.cpu_percent", f"is {percent}, more than {most:.0f} of {hardware.cpu_model}"
    if hardware.accelerator != "cpu" or not record.epochs:
        return
    work = record.workload
    images = len(record.epochs) * (work.n_train + work.n_test / 3)
    share = facts("peaks")["least_share_of_operations"]
    # the peak is that of all CPUs the run could use; what it did not use computed nothing
    peak = peak_flops_per_s(hardware, record.engine.precision) / cpu_bound(hardware)
    used_s = percent / 100 * sampled_s(record)
    if images * work.flops_per_sample * share > used_s * peak:
        yield "resources.cpu_percent", f"is {percent}: too little CPU time for what was computed"


@rule
def phases_have_their_share(subject: Subject) -> Iterator[Finding]:
    """Every phase of a completed run takes some time, and none takes what belongs to training."""
    record = subject.record
    timing = record.timing
    for name in ("startup_s", "data_s", "build_s", "warmup_s", *SAMPLED):
        if record.status == "completed" and not getattr(timing, name) > 0:
            yield f"timing.{name}", f"is {getattr(timing, name)}: nothing takes no time"
    train_s = timing.train_s
    own = not any(word in " ".join(record.workload.deviations) for word in ("callbacks", "trainer"))
    limits = {
        "warmup_s": 600 + 0.25 * train_s,
        "other_s": 30 + 0.1 * train_s,
        "checkpoint_s": 120 + 0.5 * train_s,
    }
    for name, most_s in limits.items():
        value = getattr(timing, name)
        if own and record.status == "completed" and value > most_s:
            yield f"timing.{name}", f"{value} s is too much beside {train_s} s of training"


@rule
def evaluation_speed(subject: Subject) -> Iterator[Finding]:
    """An evaluation is one forward pass, a third of a step's arithmetic: no hardware does it
    faster than that."""
    record = subject.record
    work = record.workload
    share = facts("peaks")["least_share_of_operations"]
    flops = share * work.n_test * work.flops_per_sample / 3
    peak = peak_flops_per_s(record.hardware, record.engine.precision)
    for position, row in enumerate(record.epochs):
        if flops > row.eval_s * peak or row.eval_s <= 0:
            reason = f"{row.eval_s} s is faster than the hardware can evaluate {work.n_test} images"
            yield f"epochs.{position}.eval_s", reason
            return


@rule
def clock_digits(subject: Subject) -> Iterator[Finding]:
    """Times are whole nanoseconds of a clock: scaled ones have more digits, typed ones fewer, and
    epochs of a run do not take the same time."""
    record = subject.record
    for name in ("train_s", "eval_s"):
        column = [getattr(row, name) for row in record.epochs]
        off = [abs(ns - round(ns)) - 1e-15 * ns for ns in [value / DIGITS for value in column]]
        if off and max(off) > 2e-3:
            position = next(number for number, ns in enumerate(off) if ns > 2e-3)
            reason = f"{column[position]} s is no whole number of nanoseconds"
            yield f"epochs.{position}.{name}", reason
        if len(column) > 1 and all(abs(v / COARSE_S - round(v / COARSE_S)) < 1e-6 for v in column):
            yield f"epochs.*.{name}", "are all rounded: the clock has nine digits"
        if len(column) > 2 and _too_many_equal(column):
            yield f"epochs.*.{name}", "are not distinct: no two epochs take the same nanoseconds"


def _too_many_equal(column: list[float]) -> bool:
    """Whether more times are equal than a coarse clock could bring about in so narrow a range."""
    n, equal = len(column), len(column) - len(set(column))
    ticks = max(1.0, (max(column) - min(column)) / COARSEST_TICK_S)
    return 2 * equal >= n or equal > 1000 * n * n / (2 * ticks)


@rule
def waits_within_training(subject: Subject) -> Iterator[Finding]:
    """The wait for batches is part of the training: of each epoch, and of the sum."""
    timing, rows = subject.record.timing, subject.record.epochs
    for position, row in enumerate(rows):
        if row.data_wait_s is not None and row.data_wait_s > row.train_s + 1e-6:
            yield f"epochs.{position}.data_wait_s", f"is more than train_s, {row.train_s}"
            return
    waits = [row.data_wait_s for row in rows if row.data_wait_s is not None]
    total_s = sum(waits) if waits and len(waits) == len(rows) else None
    stated = timing.data_wait_s
    if (stated is None) != (total_s is None) or (
        stated is not None and total_s is not None and differs(stated, total_s)
    ):
        yield "timing.data_wait_s", f"is {stated}, but the epochs give {total_s}"
    if stated is None and "data_wait_s" not in timing.reasons:
        yield "timing.reasons", "does not say why there is no data_wait_s"


@rule
def steps_counted(subject: Subject) -> Iterator[Finding]:
    """The optimizer made one step for each batch of each epoch, the last, smaller one included."""
    record = subject.record
    work = record.workload
    declared = " ".join(work.deviations)
    if record.status != "completed" or _steps_may_differ(declared):
        return
    expected = len(record.epochs) * -(-work.n_train // work.batch_size)
    if work.devices * work.num_nodes > 1:
        # each device takes its share of the images, padded or cut to whole batches
        if abs(work.steps_made - expected) > 2 * len(record.epochs):
            yield "workload.steps_made", f"is {work.steps_made}, about {expected} were to be made"
    elif work.steps_made != expected:
        yield "workload.steps_made", f"is {work.steps_made}, expected {expected}"


def _steps_may_differ(declared: str) -> bool:
    """Whether a configured class may have changed the steps."""
    return any(word in declared for word in ("trainer.", "callbacks "))
