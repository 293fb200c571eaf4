"""The same module and data module with switches on: what stock leaves as it comes."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from mnist_gpu.engines.lightning.data import MNISTDataModule
from mnist_gpu.engines.lightning.module import MNISTModule
from mnist_gpu.engines.torch.data import Batch
from mnist_gpu.engines.torch.step import EpochMeans, TrainStep
from mnist_gpu.engines.torch.tuning import GraphedStep, ResidentLoader, adam_arguments


class TunedModule(MNISTModule):
    """With the switch `fused_adam`.

    Args:
        *arguments: of `MNISTModule`.
        switches: that are on.
    """

    def __init__(self, *arguments: Any, switches: Mapping[str, Any]) -> None:
        super().__init__(*arguments)
        self.switches = switches
        # a step that is one graph leaves the Trainer nothing to call in between
        self.automatic_optimization = not switches.get("cuda_graphs")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        arguments = adam_arguments(self.switches)
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate, **arguments)


class SeldomLoggingModule(TunedModule):
    """Logs an epoch's means once, at its last batch: beside kernels of our own, what the Trainer
    does for `self.log` at every batch is a good part of a step."""

    def on_train_start(self) -> None:
        batches: Any = self.trainer.train_dataloader
        self.means = EpochMeans(len(batches.sampler), next(self.parameters()).dtype, self.device)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, labels = batch
        logits = self(images)
        loss = F.cross_entropy(logits, labels)
        self.means.add(loss, len(labels))
        self.means.keep(logits, labels)
        if self.trainer.is_last_batch:
            self.log_means(self.means, len(labels))
        return loss

    def log_means(self, means: EpochMeans, images: int) -> None:
        """Log what the epoch came to, within its last batch of so many images: callbacks hear of
        the epoch's end before the module does."""
        metrics = means.metrics()
        logged = {"train_loss": metrics.loss, "train_accuracy": metrics.accuracy}
        self.log_dict(logged, on_step=False, on_epoch=True, batch_size=images)


class GraphedModule(SeldomLoggingModule):
    """With the switch `cuda_graphs`: the whole step is one graph, so the Trainer leaves it to the
    module ("manual optimization")."""

    def on_train_start(self) -> None:
        # off the training clock
        optimizer: Any = self.optimizers(use_pl_optimizer=False)
        precision = str(self.trainer.precision)
        batches: Any = self.trainer.train_dataloader
        self.step = TrainStep(self.network, optimizer, precision, self.device, len(batches.sampler))
        # the Trainer says so to the sampler only after this
        batches.sampler.set_epoch(self.current_epoch)
        images, labels = next(iter(batches))
        images = images.to(self.device, self.step.loss_sum.dtype)
        self.graphed = GraphedStep(self.step, images, labels.to(self.device))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.graphed(*batch)
        if self.trainer.is_last_batch:
            self.log_means(self.step, len(batch[1]))
        # the Trainer counts steps of its own optimizers alone
        return self.step.loss_sum


class ResidentDataModule(MNISTDataModule):
    """With the switch `resident_data`."""

    def train_dataloader(self) -> DataLoader[Batch]:
        assert self.trainer is not None
        loader: Any = ResidentLoader(self.order(), self.trainer.strategy.root_device)
        return loader
