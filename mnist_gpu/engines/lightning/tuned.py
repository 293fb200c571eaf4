"""The same module with switches on: what stock leaves as it comes."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from typing_extensions import override

from mnist_gpu.engines.lightning.data import MNISTDataModule
from mnist_gpu.engines.lightning.module import Batch, MNISTModule
from mnist_gpu.engines.torch import precision
from mnist_gpu.engines.torch.data import ResidentLoader
from mnist_gpu.engines.torch.graphs import GraphedStep
from mnist_gpu.engines.torch.state import load_state, take_state
from mnist_gpu.engines.torch.step import Totals, TrainStep
from mnist_gpu.engines.torch.tuning import adam_arguments
from mnist_gpu.protocol.network import Network


class TunedModule(MNISTModule):
    """With the switch `fused_adam`.

    Args:
        network: as data.
        learning_rate: of Adam.
        seed: of initial weights and dropout.
        switches: that are on.
    """

    def __init__(
        self, network: Network, learning_rate: float, seed: int, switches: Mapping[str, Any]
    ) -> None:
        super().__init__(network, learning_rate, seed)
        self.switches = switches

    @override
    def configure_optimizers(self) -> torch.optim.Optimizer:
        arguments = adam_arguments(self.switches)
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate, **arguments)


class GraphedModule(TunedModule):
    """With the switch `cuda_graphs`: the whole step is one graph, so the Trainer leaves it to the
    module ("manual optimization").

    Args:
        precision_name: the protocol's name of the precision.
    """

    def __init__(self, *arguments: Any, precision_name: str) -> None:
        super().__init__(*arguments)
        self.automatic_optimization = False
        self.precision_name = precision_name

    @override
    def on_train_start(self) -> None:
        """Capture the step, off the training clock, and put everything back."""
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, torch.optim.Optimizer)
        before = take_state(self.network, optimizer)
        scaler = torch.amp.GradScaler("cuda") if self.precision_name == "16-mixed" else None
        autocast = precision.autocast(self.precision_name, self.device)
        self.totals = Totals(self.device, precision.parameter_dtype(self.precision_name))
        self.step = GraphedStep(TrainStep(self.network, optimizer, autocast, scaler, self.totals))
        batches: Any = self.trainer.train_dataloader
        images, labels = next(iter(batches))
        self.step.prepare(images.to(self.device), labels.to(self.device))
        self.totals.reset()
        load_state(self.network, optimizer, before)

    @override
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.step(*batch)
        # the Trainer counts steps of its own optimizers alone
        return self.totals.loss_sum

    @override
    def on_train_epoch_end(self) -> None:
        metrics = self.totals.take()
        self.log_dict({"train_loss": metrics.loss, "train_accuracy": metrics.accuracy})


class ResidentDataModule(MNISTDataModule):
    """With the switch `resident_data`."""

    device: torch.device

    @override
    def train_dataloader(self) -> DataLoader[Batch]:
        loader: Any = ResidentLoader(self.order(), self.device)
        return loader
