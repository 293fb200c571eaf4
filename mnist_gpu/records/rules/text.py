"""Rules on texts and numbers as such: nothing in a record may act on whoever reads it."""

from collections.abc import Iterator

from mnist_gpu.records.acceptable import markup_in, private_part_of
from mnist_gpu.records.rules.registry import Finding, Subject, safety_rule

MOST_ENTRIES = 1000
LARGEST = 2**53
LARGEST_RATE = 1e18
RATES = {"result.flops_per_s", "result.images_per_s"}


@safety_rule
def plain_text(subject: Subject) -> Iterator[Finding]:
    """See rules.yaml."""
    yield from ((field, why) for field, text in subject.texts if (why := markup_in(text)))


@safety_rule
def no_private_text(subject: Subject) -> Iterator[Finding]:
    """See rules.yaml."""
    yield from ((field, why) for field, text in subject.texts if (why := private_part_of(text)))


@safety_rule
def safe_numbers(subject: Subject) -> Iterator[Finding]:
    """See rules.yaml."""
    for field, number in subject.numbers:
        # free-form parts may hold what no field allows
        if not -LARGEST <= number <= (LARGEST_RATE if field in RATES else LARGEST):
            yield field, "is not a finite number of at most 2**53"
    rows = subject.record.epochs
    for field in ("epoch", "train_s", "eval_s", "train_loss", "test_loss"):
        column = [getattr(row, field) for row in rows]
        if column and not -LARGEST <= min(column) <= max(column) <= LARGEST:
            yield f"epochs.*.{field}", "holds a number that is not of at most 2**53"


@safety_rule
def short_lists(subject: Subject) -> Iterator[Finding]:
    """See rules.yaml."""
    record = subject.record
    sizes = {
        "epochs": len(record.epochs),
        "workload.deviations": len(record.workload.deviations),
        "resources.warnings": len(record.resources.warnings),
        "software.packages": len(record.software.packages),
        "platform.signals": len(record.platform.signals),
        "engine.switches": len(record.engine.switches),
        "engine.environment": len(record.engine.environment),
        "engine.kernels": len(record.engine.kernels),
        "engine.deviations_from_defaults": len(record.engine.deviations_from_defaults),
        "hardware.reasons": len(record.hardware.reasons),
        "resources.reasons": len(record.resources.reasons),
    }
    for field, size in sizes.items():
        if size > MOST_ENTRIES:
            yield field, f"has {size} entries, more than {MOST_ENTRIES}"
