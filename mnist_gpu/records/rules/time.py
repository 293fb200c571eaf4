"""Rules on time: the parts are the whole, and nothing happened tomorrow."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from statistics import median

from mnist_gpu.records.acceptable import date_fault
from mnist_gpu.records.rules.registry import Finding, Subject, differs, differs_relatively, rule

PHASE_FIELDS = (
    "startup_s",
    "data_s",
    "build_s",
    "warmup_s",
    "train_s",
    "eval_s",
    "checkpoint_s",
    "other_s",
)
CLOCK_SKEW = timedelta(hours=1)
EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)


@rule
def phases_add_up(subject: Subject) -> Iterator[Finding]:
    """The eight phases are the whole, within a microsecond."""
    record = subject.record
    parts_s = sum(getattr(record.timing, name) for name in PHASE_FIELDS)
    if differs(record.timing.total_s, parts_s):
        yield "timing.total_s", f"is {record.timing.total_s}, but the phases add up to {parts_s}"


@rule
def epochs_in_order(subject: Subject) -> Iterator[Finding]:
    """Epochs are numbered from 1, and none is missing or too many."""
    record = subject.record
    for position, row in enumerate(record.epochs, start=1):
        if row.epoch != position:
            yield f"epochs.{position - 1}.epoch", f"is {row.epoch}, expected {position}"
            break
    found, asked = len(record.epochs), record.workload.epochs
    if found > asked or (record.status == "completed" and found != asked):
        yield "epochs", f"has {found} epochs; workload.epochs says {asked}"


@rule
def epochs_add_up(subject: Subject) -> Iterator[Finding]:
    """The epochs' times are those of the phases."""
    record = subject.record
    train_s = sum(row.train_s for row in record.epochs)
    stated_s = record.timing.train_s
    if differs(stated_s, train_s) and (record.status == "completed" or train_s > stated_s):
        yield "timing.train_s", f"is {stated_s}, but the epochs add up to {train_s}"
    eval_s = sum(row.eval_s for row in record.epochs)
    if eval_s > record.timing.eval_s and differs(record.timing.eval_s, eval_s):
        yield "timing.eval_s", f"is {record.timing.eval_s}, but the epochs add up to {eval_s}"


@rule
def epoch_figures(subject: Subject) -> Iterator[Finding]:
    """First and steady epoch follow from the epochs."""
    record = subject.record
    epochs, timing = record.epochs, record.timing
    first_s = epochs[0].train_s if epochs else None
    steady_s = median(row.train_s for row in epochs[1:]) if len(epochs) > 1 else None
    for field, computed in (("first_epoch_s", first_s), ("steady_epoch_s", steady_s)):
        stated = getattr(timing, field)
        if (stated is None) != (computed is None) or (
            stated is not None and computed is not None and differs(stated, computed)
        ):
            yield f"timing.{field}", f"is {stated}, but the epochs give {computed}"


@rule
def rates(subject: Subject) -> Iterator[Finding]:
    """Rates follow from epochs, workload and time."""
    record = subject.record
    images = len(record.epochs) * record.workload.n_train
    train_s = record.timing.train_s
    images_per_s = images / train_s if record.epochs and train_s else None
    flops_per_s = None if images_per_s is None else images_per_s * record.workload.flops_per_sample
    # nothing to train on has no arithmetic: either way of saying so is true
    for field, computed in (("images_per_s", images_per_s), ("flops_per_s", flops_per_s)):
        stated = getattr(record.result, field)
        if differs_relatively(stated or None, computed or None):
            yield f"result.{field}", f"is {stated}, but epochs over train_s give {computed}"


@rule
def not_in_the_future(subject: Subject) -> Iterator[Finding]:
    """Dates are of the calendar, and past."""
    record = subject.record
    try:
        created = datetime.fromisoformat(record.created_at)
    except ValueError:
        yield "created_at", f"{record.created_at} is no date of the calendar"
    else:
        if created > subject.now + CLOCK_SKEW:
            yield "created_at", f"{record.created_at} lies in the future"
        if created < EARLIEST:
            yield "created_at", f"{record.created_at} is older than this project"
    if record.price.as_of is not None and (why := date_fault(record.price.as_of, subject.now)):
        yield "price.as_of", why
