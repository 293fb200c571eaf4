"""The course of one run: which epoch, which phase, what came out, and who is told of it."""

import logging
import math
from collections.abc import Callable, Iterable, Sequence

from mnist_gpu.protocol.metrics import Metrics
from mnist_gpu.records.schema import EpochRecord
from mnist_gpu.timing.stopwatch import NANOSECONDS_PER_SECOND, Stopwatch

log = logging.getLogger(__name__)


class Diverged(Exception):
    """The loss is no longer a finite number."""


class Interrupted(Exception):
    """A signal asked the run to end; `signum` is its number."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"signal {signum}")
        self.signum = signum


class Observer:
    """Somebody told of a run's course. A failure of an observer that is not `vital` is logged once
    and the observer dropped: it never ends a training."""

    vital = False

    def began(self, timeline: "Timeline") -> None:
        """The engine is warm; the first epoch is about to start."""

    def progressed(self, epoch: int, step: int) -> None:
        """`step` optimizer steps of `epoch` have been handed to the device. On the training clock:
        must cost next to nothing."""

    def epoch_ended(self, row: EpochRecord) -> None:
        """An epoch has been trained and evaluated."""

    def ended(self, timeline: "Timeline") -> None:
        """Training is over, for whatever reason."""


class Timeline:
    """Times the epochs of a run on a stopwatch and keeps their history.

    An engine's loop calls, for each of `remaining()`: `training(epoch)`, `progressed(step)` as
    often as it likes, `trained(metrics)`, `evaluated(metrics)`. The phases follow from that.

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
        history: Iterable[EpochRecord] = (),
    ) -> None:
        self.stopwatch = stopwatch
        self.epochs = epochs
        self.history = list(history)
        self.interrupted_by: int | None = None
        self._observers = list(observers)
        self._epoch = 0
        self._marks_ns: dict[str, int] = {}
        self._metrics: Metrics | None = None

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
        self._marks_ns = self.stopwatch.totals_ns()
        self.stopwatch.enter("train")

    def progressed(self, step: int) -> None:
        """Take note of progress within the epoch.

        Raises:
            Interrupted: a signal came in the meantime.
        """
        self.raise_if_interrupted()
        self._tell(lambda observer: observer.progressed(self._epoch, step))

    def trained(self, metrics: Metrics) -> None:
        """Stop the training clock and start the evaluation's.

        Raises:
            Diverged: the mean training loss is not finite.
        """
        self.stopwatch.enter("eval")
        self._refuse_divergence("training", metrics)
        self._metrics = metrics

    def evaluated(self, metrics: Metrics) -> None:
        """Stop the evaluation clock, keep the epoch, tell the observers.

        Raises:
            Diverged: the mean test loss is not finite.
        """
        self.stopwatch.enter("other")
        self._refuse_divergence("test", metrics)
        assert self._metrics is not None, "evaluated() needs trained() before it"
        totals_ns = self.stopwatch.totals_ns()
        row = EpochRecord(
            epoch=self._epoch,
            train_s=(totals_ns["train"] - self._marks_ns["train"]) / NANOSECONDS_PER_SECOND,
            eval_s=(totals_ns["eval"] - self._marks_ns["eval"]) / NANOSECONDS_PER_SECOND,
            train_loss=self._metrics.loss,
            train_accuracy=self._metrics.accuracy,
            test_loss=metrics.loss,
            test_accuracy=metrics.accuracy,
        )
        self.history.append(row)
        self._metrics = None
        self._tell(lambda observer: observer.epoch_ended(row))

    def abandoned(self) -> None:
        """Credit the time of an epoch that did not end to `other`: it made no finished epoch."""
        self.stopwatch.enter("other")
        kept = sum(row.train_s for row in self.history)
        for phase, seconds in (("train", kept), ("eval", sum(r.eval_s for r in self.history))):
            over_ns = self.stopwatch.totals_ns()[phase] - round(seconds * NANOSECONDS_PER_SECOND)
            self.stopwatch.move(phase, "other", max(0, over_ns))

    def ended(self) -> None:
        """Tell the observers that training is over."""
        self.stopwatch.enter("other")
        self._tell(lambda observer: observer.ended(self))

    def raise_if_interrupted(self) -> None:
        """Raise `Interrupted` once a signal has been noted in `interrupted_by`."""
        if self.interrupted_by is not None:
            raise Interrupted(self.interrupted_by)

    def _refuse_divergence(self, which: str, metrics: Metrics) -> None:
        if not math.isfinite(metrics.loss):
            raise Diverged(f"the {which} loss of epoch {self._epoch} is {metrics.loss}")

    def _tell(self, message: Callable[[Observer], None]) -> None:
        for observer in list(self._observers):
            try:
                message(observer)
            except Exception as fault:
                if observer.vital:
                    raise
                self._observers.remove(observer)
                log.warning("%s stopped: %s", type(observer).__name__, fault)
