"""The LightningModule: one `training_step` makes `steps_per_execution` optimizer steps."""

from typing import Any

import lightning.pytorch as L
import torch
from typing_extensions import override

from mnist_gpu.engines.torch.program import Program
from mnist_gpu.protocol.metrics import Metrics


class MNISTModule(L.LightningModule):
    """The standard network under the Trainer.

    Optimization is manual: a batch of the loader is a block of `steps` protocol batches, as
    indices, and the program makes all its optimizer steps in one call, so that the Trainer's
    per-step work is paid once a block.

    Args:
        program: network, optimizer and resident data on the Trainer's device.
        steps: optimizer steps in a full block.
        steps_per_epoch: optimizer steps in an epoch.
    """

    def __init__(self, program: Program, steps: int, steps_per_epoch: int) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.program = program
        self.network = program.network
        self.steps = steps
        self.steps_per_epoch = steps_per_epoch
        self._evaluated: Metrics | None = None

    @override
    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.program.adam.optimizer

    @override
    def on_train_epoch_start(self) -> None:
        self.program.begin_epoch(self.current_epoch + 1)

    @override
    def training_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        self.program.run_steps(batch)

    @override
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self._evaluated = self.program.evaluate()

    def take_metrics(self) -> Metrics:
        """Loss and accuracy of the pass that has just ended, training or evaluation."""
        if self._evaluated is not None:
            metrics, self._evaluated = self._evaluated, None
            return metrics
        return self.program.take_metrics()
