"""Rules on what came out: accuracy, loss and the status of the run."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median

from mnist_gpu.records.rules.registry import Finding, Subject, rule

# float32 arithmetic on its way to an accuracy leaves about 1e-7 of it
WHOLE_IMAGE_SLACK = 2e-3
LOSS_SLACK = 1.02
# float32 means over the training set
TRAINING_SLACK = 0.05
MOST_NATS = 100
SMOOTH_FROM = 24
STEADIEST = 1e-5


@rule
def last_epoch_counts(subject: Subject) -> Iterator[Finding]:
    """The result is that of the last epoch, never of the best."""
    record = subject.record
    last = record.epochs[-1] if record.epochs else None
    for field in ("test_accuracy", "test_loss"):
        stated = getattr(record.result, field)
        computed = None if last is None else getattr(last, field)
        if stated != computed:
            yield f"result.{field}", f"is {stated}, but the last epoch says {computed}"


@rule
def whole_images(subject: Subject) -> Iterator[Finding]:
    """Accuracies on the test set are whole numbers of images."""
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
    """A loss is not negative, and bounds the errors: a wrong answer gave the true class a
    probability of at most 1/2."""
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
    """A completed run has a result and a digest of its weights; any other says why it ended."""
    record = subject.record
    if record.status == "completed":
        for field in ("test_accuracy", "test_loss", "weights_sha256", "images_per_s"):
            if getattr(record.result, field) is None:
                yield f"result.{field}", "is missing in a completed run"
    elif not record.status_reason:
        yield "status_reason", f"is missing although the run was {record.status}"


@rule
def loss_fits_accuracy(subject: Subject) -> Iterator[Finding]:
    """A network that is nearly always right is not far off in its loss: a right answer costs at
    most ln 10, and at 99 % the mean is far below 1/2."""
    record = subject.record
    for position, row in enumerate(record.epochs):
        most = math.log(10) * row.test_accuracy + MOST_NATS * (1 - row.test_accuracy)
        if row.test_accuracy >= 0.99 and record.workload.dataset == "mnist":
            most = 0.5
        if row.test_loss > most:
            reason = f"{row.test_loss} is too large for an accuracy of {row.test_accuracy}"
            yield f"epochs.{position}.test_loss", reason
            return


@rule
def whole_training_images(subject: Subject) -> Iterator[Finding]:
    """Accuracies over the training set are whole numbers of its images, on one device."""
    record = subject.record
    n_train = record.workload.n_train
    if record.workload.devices * record.workload.num_nodes > 1:
        return
    for position, row in enumerate(record.epochs):
        right = row.train_accuracy * n_train
        if abs(right - round(right)) > TRAINING_SLACK:
            field = f"epochs.{position}.train_accuracy"
            yield field, f"{row.train_accuracy} is no whole number of {n_train} images"
            return


@rule
def losses_are_measured(subject: Subject) -> Iterator[Finding]:
    """Losses are means of thousands of numbers: distinct in every epoch, never smooth for long."""
    record = subject.record
    if record.workload.dataset == "custom":
        return
    for field in ("train_loss", "test_loss"):
        # a network that has learnt drawn digits by heart is right to the last bit
        column = [value for row in record.epochs if (value := getattr(row, field)) > 1e-6]
        if len(column) > 2 and len(set(column)) < len(column):
            yield f"epochs.*.{field}", "are not distinct: no two epochs give the same mean"
        if len(column) > 1 and all(abs(v * 1e4 - round(v * 1e4)) < 1e-9 for v in column):
            yield f"epochs.*.{field}", "are all rounded to four digits"
    tests = [row.test_loss for row in record.epochs]
    if len(tests) >= SMOOTH_FROM and all(b < a for a, b in pairwise(tests)):
        yield "epochs.*.test_loss", f"fall in each of {len(tests)} epochs: no training is so smooth"


@rule
def times_are_measured(subject: Subject) -> Iterator[Finding]:
    """Epoch times scatter: they do not rise or fall for long, nor repeat themselves."""
    times = [row.train_s for row in subject.record.epochs][1:]
    if len(times) < SMOOTH_FROM:
        return
    for sign, word in ((1, "rise"), (-1, "fall")):
        if all(sign * (b - a) > 0 for a, b in pairwise(times)):
            yield "epochs.*.train_s", f"{word} in each of {len(times)} epochs"
    if max(times) - min(times) < STEADIEST * median(times):
        yield "epochs.*.train_s", "are steadier than any clock"
    half = len(times) // 2
    if _rank_correlation(times[:half], times[-half:]) > 0.98:
        yield "epochs.*.train_s", "rise and fall alike in both halves: doubled"


def _rank_correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Spearman's, of distinct values."""
    n = len(one)
    first, second = ({value: rank for rank, value in enumerate(sorted(v))} for v in (one, other))
    squares = sum((first[a] - second[b]) ** 2 for a, b in zip(one, other, strict=True))
    return 1 - 6 * squares / (n * (n * n - 1))
