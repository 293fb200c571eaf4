"""Rules on what came out: accuracy, loss, steps and the status of the run."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from math import log
from statistics import median

from mnist_gpu.records.facts import limits
from mnist_gpu.records.rules.registry import Finding, first, rule, unequal
from mnist_gpu.records.rules.time import fewer_steps, own_classes
from mnist_gpu.records.run import column
from mnist_gpu.records.schema import Record

LIMIT = limits()


@rule
def last_epoch_counts(record: Record) -> Iterable[Finding]:
    """The result is that of the last epoch, never of the best."""
    last = record.epochs[-1] if record.epochs else None
    stated = [
        (f"result.{field}", getattr(record.result, field), getattr(last, field, None))
        for field in ("test_accuracy", "test_loss")
    ]
    return unequal(stated, "the last epoch says")


@rule
def status_fits(record: Record) -> Iterator[Finding]:
    """A completed run has a result and a digest of its weights; any other says why it ended."""
    if record.status == "completed":
        for field in ("test_accuracy", "test_loss", "weights_sha256", "images_per_s"):
            unknown = field == "images_per_s" and fewer_steps(record)
            if getattr(record.result, field) is None and not unknown:
                yield f"result.{field}", "is missing in a completed run"
    elif not record.status_reason:
        yield "status_reason", f"is missing although the run was {record.status}"


@rule
def steps_counted(record: Record) -> Iterator[Finding]:
    """The optimizer made one step for each batch of each epoch, the last, smaller one included;
    in float16 it may leave out a few."""
    work, epochs = record.workload, len(record.epochs)
    expected = epochs * -(-work.n_train // work.batch_size)
    most = expected + (2 * epochs if work.devices * work.num_nodes > 1 else 0)
    judged = record.status == "completed" and not own_classes(record)
    if judged and (fewer_steps(record) or work.steps_made > most):
        yield "workload.steps_made", f"is {work.steps_made}, expected {expected}"


@rule
def whole_images(record: Record) -> Iterable[Finding]:
    """Accuracies on the test set are whole numbers of images."""
    return _whole(record, "test_accuracy", record.workload.n_test, LIMIT.whole_image_slack)


@rule
def whole_training_images(record: Record) -> Iterable[Finding]:
    """Accuracies over the training set are whole numbers of its images, on one device."""
    work = record.workload
    if work.devices * work.num_nodes > 1:
        return ()
    return _whole(record, "train_accuracy", work.n_train, LIMIT.whole_training_slack)


def _whole(record: Record, field: str, images: int, slack: float) -> Iterator[Finding]:
    right = [share * images for share in column(record, field)]
    broken = [abs(number - round(number)) > slack for number in right]
    return first(record, field, broken, f"no whole number of {images} images")


@rule
def loss_bounds_errors(record: Record) -> Iterator[Finding]:
    """A loss is not negative, and bounds the errors: a wrong answer gave the true class a
    probability of at most 1/2."""
    negative = [loss < 0 for loss in column(record, "train_loss")]
    yield from first(record, "train_loss", negative, "a loss is not negative")
    slack, nats = LIMIT.loss_slack, log(2)
    for part in ("train", "test"):
        small = [loss * slack + 1e-6 < (1 - right) * nats for loss, right in _of(record, part)]
        yield from first(record, f"{part}_loss", small, "too small for that epoch's accuracy")


@rule
def loss_fits_accuracy(record: Record) -> Iterable[Finding]:
    """A network that is nearly always right is not far off in its loss: a right answer costs at
    most ln 10, and at 99 % the mean is far below 1/2."""
    sure = 0.99 if record.workload.dataset == "mnist" else 2.0
    nats, guess = LIMIT.most_nats, log(10)
    large = [
        loss > (0.5 if right >= sure else guess * right + nats * (1 - right))
        for loss, right in _of(record, "test")
    ]
    yield from first(record, "test_loss", large, "too large for that epoch's accuracy")
    # a large learning rate may leave any loss behind on the way, but not beside few errors
    large = [loss > 0.5 and right >= sure for loss, right in _of(record, "train")]
    yield from first(record, "train_loss", large, "too large for that epoch's accuracy")
    if record.workload.standard:
        yield from _standard_network(record)


def _standard_network(record: Record) -> Iterator[Finding]:
    edge, each, best = (LIMIT.standard[name] for name in ("edge", "nats_per_error", "best"))
    for part in ("train", "test"):
        beyond = [loss > edge + each * (1 - right) for loss, right in _of(record, part)]
        why = "beyond what the standard network reaches with that epoch's loss"
        yield from first(record, f"{part}_accuracy", beyond, why)
    beyond = [right > best for right in column(record, "test_accuracy")]
    yield from first(record, "test_accuracy", beyond, "beyond what the standard network reaches")
    yield from _standard_course(record)


def _standard_course(record: Record) -> Iterator[Finding]:
    """The training loss of the standard run begins high, falls, and comes of its errors."""
    low, high = LIMIT.nats_of_training
    errors_from = LIMIT.errors_from / max(1, record.workload.n_train)
    unlike = [
        1 - right >= errors_from and not low <= loss / (1 - right) <= high
        for loss, right in _of(record, "train")
    ]
    yield from first(record, "train_loss", unlike, "unlike what so many errors cost")
    losses, earliest = column(record, "train_loss"), LIMIT.first_epoch
    if not losses:
        return
    if losses[0] < max(earliest["train_loss"], *losses):
        reason = f"is {losses[0]}: in the first epoch the standard network learns most"
        yield "epochs.0.train_loss", reason
    if (reached := column(record, "test_accuracy")[0]) > earliest["test_accuracy"]:
        yield "epochs.0.test_accuracy", f"is {reached}: more than one epoch of training reaches"
    half = len(losses) // 2
    if len(losses) >= LIMIT.smooth_from and median(losses[half:]) > median(losses[1:half]):
        yield "epochs.*.train_loss", "rise from the first half of the run to the second"


def _of(record: Record, part: str) -> Iterable[tuple[float, float]]:
    """Loss and accuracy on the `train` or the `test` set, epoch by epoch."""
    losses, accuracies = (column(record, f"{part}_{name}") for name in ("loss", "accuracy"))
    return zip(losses, accuracies, strict=True)


@rule
def losses_are_measured(record: Record) -> Iterator[Finding]:
    """Losses are means of thousands of numbers: distinct in every epoch, never smooth for long."""
    if record.workload.dataset == "custom":
        return
    for field in ("train_loss", "test_loss"):
        losses: Sequence[float] = column(record, field)
        # a network that has learnt drawn digits by heart is right to the last bit
        judged = [loss for loss in losses if loss > 1e-6]
        if len(judged) > 2 and len(set(judged)) < len(judged):
            yield f"epochs.*.{field}", "are not distinct: no two epochs give the same mean"
        if len(judged) > 1 and all(abs(v * 1e4 - round(v * 1e4)) < 1e-9 for v in judged):
            yield f"epochs.*.{field}", "are all rounded to four digits"
        if len(judged) > 2 and all(abs(v * 1e6 - round(v * 1e6)) < 1e-3 for v in judged):
            yield f"epochs.*.{field}", "are all rounded to six digits"
        # smaller steps than the standard ones may well lower the training loss for long
        noisy = field == "test_loss" or record.workload.standard
        falling = all(b < a for a, b in pairwise(losses))
        if noisy and len(losses) >= LIMIT.smooth_from and falling:
            yield f"epochs.*.{field}", f"fall in each of {len(losses)} epochs: no training does"
    accuracies = column(record, "test_accuracy")
    # all right stays all right, and a network that has died at a guess; others move by an image
    living = len(set(accuracies)) == 1 and 0.5 < accuracies[0] < 1
    if living and len(accuracies) >= LIMIT.smooth_from:
        yield "epochs.*.test_accuracy", f"is {accuracies[0]} in each of {len(accuracies)} epochs"
