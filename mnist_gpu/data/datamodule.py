"""The MNIST DataModule: the protocol's batch order, handed out in blocks of indices.

The images stay where the program keeps them, resident on the device; what travels is which of them
come next. There is no per-sample work.
"""

import math
from collections.abc import Iterator

import lightning.pytorch as L
import torch
from torch.utils.data import DataLoader, Dataset, Sampler
from typing_extensions import override

from mnist_gpu.engines.base import Workload


class EpochOrder(Sampler[torch.Tensor]):
    """Yields the order of one epoch in blocks of `block` indices: (<= block,) int64.

    The Trainer calls `set_epoch` (from 0) before each epoch; the protocol counts from 1.
    """

    def __init__(self, workload: Workload, block: int) -> None:
        self.workload = workload
        self.block = block
        self.epoch = 1

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, counted from 0."""
        self.epoch = epoch + 1

    def __iter__(self) -> Iterator[torch.Tensor]:
        yield from torch.from_numpy(self.workload.order(self.epoch)).split(self.block)

    def __len__(self) -> int:
        return math.ceil(self.workload.steps_per_epoch * self.workload.batch_size / self.block)


class Indices(Dataset[torch.Tensor]):
    """A data set whose items are the indices themselves."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __getitem__(self, indices: torch.Tensor) -> torch.Tensor:
        return indices

    def __len__(self) -> int:
        return self.n


class MNISTDataModule(L.LightningDataModule):
    """Blocks of training indices, and one block for the whole test set.

    Args:
        workload: data set, batch size and order.
        steps: protocol batches in a block.
    """

    def __init__(self, workload: Workload, steps: int) -> None:
        super().__init__()
        self.workload = workload
        self.order = EpochOrder(workload, steps * workload.batch_size)

    @override
    def train_dataloader(self) -> DataLoader[torch.Tensor]:
        images = Indices(len(self.workload.dataset.train_labels))
        return DataLoader(images, batch_size=None, sampler=self.order, num_workers=0)

    @override
    def val_dataloader(self) -> DataLoader[torch.Tensor]:
        n = len(self.workload.dataset.test_labels)
        return DataLoader(Indices(n), batch_size=None, sampler=[torch.arange(n)], num_workers=0)
