"""What the run hears of Lightning's Trainer: phases, steps, and what each epoch came to."""

import signal
from collections.abc import Callable
from typing import Any

import lightning.pytorch as L
from typing_extensions import override

from mnist_gpu.protocol.workload import Metrics
from mnist_gpu.timing.callback import TimingCallback
from mnist_gpu.timing.ledger import EpochTimes
from mnist_gpu.timing.timeline import Timeline


class RunCallback(TimingCallback):
    """The timing callback on the run's own stopwatch, which tells the timeline of each epoch.

    Args:
        timeline: owns the stopwatch, the history and the observers.
        images: how many there are in training and in validation; a mean accuracy in float32 is
            brought back to a whole number of them.
        began: called once the strategy has placed the module, with the Trainer; gives the
            protocol's number of the Trainer's epoch 0.
    """

    def __init__(
        self, timeline: Timeline, images: tuple[int, int], began: Callable[[L.Trainer], int]
    ) -> None:
        super().__init__(log=False, stopwatch=timeline.stopwatch)
        self.timeline = timeline
        self.images = images
        self.began = began

    @override
    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.first_epoch = self.began(trainer)
        # the Trainer is about to take SIGTERM over, and would broadcast from within its handler
        # while other processes wait in a sum of gradients; the run has a handler of its own
        self._handler = signal.getsignal(signal.SIGTERM)

    @override
    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if signal.getsignal(signal.SIGTERM) is not self._handler:
            signal.signal(signal.SIGTERM, self._handler)
        super().on_train_start(trainer, pl_module)

    @override
    def epoch_began(self, trainer: L.Trainer, pl_module: L.LightningModule, epoch: int) -> None:
        self.timeline.training(self.first_epoch + trainer.current_epoch)

    @override
    def batch_arrived(self, waited_ns: int) -> None:
        self.timeline.waited(waited_ns)

    @override
    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self.timeline.progressed(batch_idx + 1)
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    @override
    def evaluating(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.timeline.trained()

    @override
    def epoch_ended(
        self, trainer: L.Trainer, pl_module: L.LightningModule, times: EpochTimes
    ) -> None:
        logged, found = trainer.callback_metrics, []
        for stage, images in zip(("train", "val"), self.images, strict=True):
            right = round(float(logged[f"{stage}_accuracy"]) * images)
            found.append(Metrics(float(logged[f"{stage}_loss"]), right / images))
        self.timeline.evaluated(*found)
