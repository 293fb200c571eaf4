"""The course of one run: which epoch, which phase, what came out, and who is told of it."""

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

from mnist_gpu.protocol.workload import Metrics
from mnist_gpu.timing.stopwatch import NANOSECONDS_PER_SECOND, Stopwatch

log = logging.getLogger(__name__)
Batch = TypeVar("Batch")


class Diverged(Exception):
    """The loss is no longer a finite number."""


class Interrupted(Exception):
    """A signal asked the run to end; `signum` is its number."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"signal {signum}")
        self.signum = signum


@dataclass(frozen=True)
class Epoch:
    """One pass over the training set and the evaluation after it."""

    epoch: int  # counted from 1
    train_s: float
    eval_s: float
    train_loss: float  # mean cross-entropy over the images, in nats
    train_accuracy: float  # 0 to 1, as training went, dropout on
    test_loss: float
    test_accuracy: float
    # within `train_s`, the host's wait for the next batch; None where the framework does not tell
    data_wait_s: float | None = None


class Observer:
    """Somebody told of a run's course. A failure of an observer that is not `vital` is logged once
    and the observer dropped: it never ends a training."""

    vital = False

    def began(self, timeline: "Timeline") -> None:
        """The engine is warm; the first epoch is about to start."""

    def progressed(self, epoch: int, step: int) -> None:
        """`step` optimizer steps of `epoch` have been handed to the device. On the training clock:
        must cost next to nothing."""

    def epoch_ended(self, row: Epoch) -> None:
        """An epoch has been trained and evaluated."""

    def ended(self, timeline: "Timeline") -> None:
        """Training is over, for whatever reason."""


class Timeline:
    """Times the epochs of a run on a stopwatch and keeps their history.

    For each of `remaining()` an engine's loop calls `training(epoch)`, goes through its batches by
    `batches` (or calls `progressed(step)` as often as it likes), then `trained()` and, once it has
    evaluated, `evaluated(train, test)`. The phases follow from that.

    Args:
        stopwatch: credits the time; every phase edge waits for the device.
        epochs: how many the run is to have.
        observers: told in this order.
        history: finished epochs of earlier segments.
    """

    def __init__(
        self,
        stopwatch: Stopwatch,
        epochs: int,
        observers: Sequence[Observer] = (),
        history: Iterable[Epoch] = (),
    ) -> None:
        self.stopwatch = stopwatch
        self.epochs = epochs
        self.history = list(history)
        self.interrupted_by: int | None = None
        self._observers = list(observers)
        self._epoch = 0
        self._marks_ns: dict[str, int] = {}
        self._waited_ns: int | None = None

    def remaining(self) -> range:
        """The epochs still to be trained, counted from 1."""
        return range(len(self.history) + 1, self.epochs + 1)

    def began(self) -> None:
        """Tell the observers that the engine is warm."""
        self.stopwatch.enter("other")
        self._tell(lambda observer: observer.began(self))

    def training(self, epoch: int) -> None:
        """Start the training clock of `epoch`."""
        self.raise_if_interrupted()
        self._epoch = epoch
        self._waited_ns = None
        self._marks_ns = self.stopwatch.totals_ns()
        self.stopwatch.enter("train")

    def batches(
        self, loader: Iterable[Batch], steps: Iterable[int] | None = None
    ) -> Iterator[Batch]:
        """Yield every batch of `loader`, and note how long the host waited for each.

        `steps` are those of the epoch made after each batch: 1, 2, 3 and so on unless said.
        `Interrupted` where a signal came meanwhile.
        """
        # the bare clock: a phase edge would wait for the device at every batch
        clock_ns = self.stopwatch.clock_ns
        asked_ns = clock_ns()
        for batch, step in zip(loader, count(1) if steps is None else steps, strict=False):
            self.waited(clock_ns() - asked_ns)
            yield batch
            self.progressed(step)
            asked_ns = clock_ns()
        self.waited(clock_ns() - asked_ns)

    def waited(self, elapsed_ns: int) -> None:
        """Add to the host's wait for batches within this epoch."""
        self._waited_ns = (self._waited_ns or 0) + elapsed_ns

    def progressed(self, step: int) -> None:
        """Take note of progress within the epoch; `Interrupted` where a signal came meanwhile."""
        self.raise_if_interrupted()
        self._tell(lambda observer: observer.progressed(self._epoch, step))

    def trained(self) -> None:
        """Stop the training clock and start the evaluation's."""
        self.stopwatch.enter("eval")

    def evaluated(self, train: Metrics, test: Metrics) -> None:
        """Stop the evaluation clock, keep the epoch, tell the observers.

        `train` are means over the epoch's images in training mode, `test` over the test set after
        it; `Diverged` where a loss is not finite.
        """
        self.stopwatch.enter("other")
        for which, metrics in (("training", train), ("test", test)):
            if not math.isfinite(metrics.loss):
                raise Diverged(f"the {which} loss of epoch {self._epoch} is {metrics.loss}")
        wait_s = None if self._waited_ns is None else self._waited_ns / NANOSECONDS_PER_SECOND
        row = Epoch(
            epoch=self._epoch,
            train_s=self._took_s("train"),
            eval_s=self._took_s("eval"),
            train_loss=train.loss,
            train_accuracy=train.accuracy,
            test_loss=test.loss,
            test_accuracy=test.accuracy,
            data_wait_s=wait_s,
        )
        self.history.append(row)
        self._tell(lambda observer: observer.epoch_ended(row))

    def abandoned(self) -> None:
        """Credit the time of an epoch that did not end to `other`: it made no finished epoch."""
        self.stopwatch.enter("other")
        for phase in ("train", "eval"):
            kept_s = sum(getattr(row, f"{phase}_s") for row in self.history)
            over_ns = self.stopwatch.elapsed_ns(phase) - round(kept_s * NANOSECONDS_PER_SECOND)
            self.stopwatch.move(phase, "other", max(0, over_ns))

    def ended(self) -> None:
        """Tell the observers that training is over."""
        self.stopwatch.enter("other")
        self._tell(lambda observer: observer.ended(self))

    def raise_if_interrupted(self) -> None:
        """Raise `Interrupted` once a signal has been noted in `interrupted_by`."""
        if self.interrupted_by is not None:
            raise Interrupted(self.interrupted_by)

    def _took_s(self, phase: str) -> float:
        elapsed_ns = self.stopwatch.elapsed_ns(phase) - self._marks_ns[phase]
        return elapsed_ns / NANOSECONDS_PER_SECOND

    def _tell(self, message: Callable[[Observer], None]) -> None:
        for observer in list(self._observers):
            try:
                message(observer)
            except Exception as exc:
                if observer.vital:
                    raise
                self._observers.remove(observer)
                log.warning("%s stopped: %s", type(observer).__name__, exc)
