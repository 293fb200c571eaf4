"""The timing Callback: Lightning's hooks, put onto the protocol's clock.

Three facts of Lightning 2.6 shape it. Validation runs inside the training epoch, before
`on_train_epoch_end`, so training ends where validation starts. On a resume in mid-epoch
`on_train_epoch_start` is skipped, so the clock also starts in `on_train_start`. And a second `fit`
reuses the callback, so nothing is kept between fits.
"""

from typing import Any, Protocol

import lightning.pytorch as L
from typing_extensions import override

from mnist_gpu.protocol.metrics import Metrics
from mnist_gpu.timing.timeline import Timeline


class Trains(Protocol):
    """What the callback needs of a module."""

    steps: int
    steps_per_epoch: int

    def take_metrics(self) -> Metrics:
        """Loss and accuracy since the last call; waits for the device."""


class TimingCallback(L.Callback):
    """Records per-epoch and total wall time: tells the timeline where each phase ends.

    Args:
        timeline: owns the stopwatch, the history and the observers (progress, curves, checkpoints).
        module: the one that is trained.

    Raises:
        Interrupted: from any hook, after a signal.
        Diverged: from the validation hooks, when a loss is not finite.
    """

    def __init__(self, timeline: Timeline, module: Trains) -> None:
        self.timeline = timeline
        self.module = module
        self._training = 0

    @override
    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._training = 0

    @override
    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._start(trainer)

    @override
    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self._training == 0:
            self._start(trainer)

    @override
    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        done = (batch_idx + 1) * self.module.steps
        self.timeline.progressed(min(done, self.module.steps_per_epoch))

    @override
    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._training:
            self.timeline.trained(self.module.take_metrics())

    @override
    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._training:
            self._training = 0
            self.timeline.evaluated(self.module.take_metrics())

    def _start(self, trainer: L.Trainer) -> None:
        self._training = trainer.current_epoch + 1
        self.timeline.training(self._training)
