"""Rules on what came out: accuracy, loss and the status of the run."""

import math
from collections.abc import Iterator

from mnist_gpu.records.rules.registry import Finding, Subject, rule

# float32 arithmetic on its way to an accuracy leaves about 1e-7 of it
WHOLE_IMAGE_SLACK = 2e-3
LOSS_SLACK = 1.02


@rule
def last_epoch_counts(subject: Subject) -> Iterator[Finding]:
    """See rules.yaml."""
    record = subject.record
    last = record.epochs[-1] if record.epochs else None
    for field in ("test_accuracy", "test_loss"):
        stated = getattr(record.result, field)
        computed = None if last is None else getattr(last, field)
        if stated != computed:
            yield f"result.{field}", f"is {stated}, but the last epoch says {computed}"


@rule
def whole_images(subject: Subject) -> Iterator[Finding]:
    """See rules.yaml."""
    record = subject.record
    n_test = record.workload.n_test
    for position, row in enumerate(record.epochs):
        right = row.test_accuracy * n_test
        if abs(right - round(right)) > WHOLE_IMAGE_SLACK:
            field = f"epochs.{position}.test_accuracy"
            yield field, f"{row.test_accuracy} is no whole number of {n_test} images"
            return


@rule
def loss_bounds_errors(subject: Subject) -> Iterator[Finding]:
    """See rules.yaml. A wrong answer gave the true class a probability of at most 1/2."""
    record = subject.record
    for position, row in enumerate(record.epochs):
        if row.train_loss < 0:
            yield f"epochs.{position}.train_loss", f"{row.train_loss} is negative"
            return
        least = (1 - row.test_accuracy) * math.log(2)
        if row.test_loss * LOSS_SLACK + 1e-6 < least:
            yield (
                f"epochs.{position}.test_loss",
                f"{row.test_loss} is too small for an accuracy of {row.test_accuracy}"
                f" (at least {least:.6f})",
            )
            return


@rule
def status_fits(subject: Subject) -> Iterator[Finding]:
    """See rules.yaml."""
    record = subject.record
    if record.status == "completed":
        for field in ("test_accuracy", "test_loss", "weights_sha256", "images_per_s"):
            if getattr(record.result, field) is None:
                yield f"result.{field}", "is missing in a completed run"
    elif not record.status_reason:
        yield "status_reason", f"is missing although the run was {record.status}"
