"""The MNIST DataModule: the protocol's batch order, handed out in blocks of indices.

The images stay where the program keeps them, resident on the device; what travels is which of them
come next. There is no per-sample work.
"""

from collections.abc import Callable, Iterator, Sequence

import lightning.pytorch as L
import torch
from torch.utils.data import DataLoader, Dataset, Sampler
from typing_extensions import override

Blocks = Callable[[int], Sequence[torch.Tensor]]


class EpochOrder(Sampler[torch.Tensor]):
    """Yields the order of one epoch in blocks of indices: (n,) int64, or (members, n).

    The Trainer calls `set_epoch` (from 0) before each epoch; the protocol counts from 1.

    Args:
        blocks: gives the blocks of an epoch (from 1).
        count: how many blocks an epoch has.
    """

    def __init__(self, blocks: Blocks, count: int) -> None:
        self.blocks = blocks
        self.count = count
        self.epoch = 1

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, counted from 0."""
        self.epoch = epoch + 1

    def __iter__(self) -> Iterator[torch.Tensor]:
        yield from self.blocks(self.epoch)

    def __len__(self) -> int:
        return self.count


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
        blocks: gives the blocks of an epoch (from 1): this device's, in the protocol's order.
        count: how many blocks an epoch has.
        n_train, n_test: images in the two sets.
    """

    def __init__(self, blocks: Blocks, count: int, n_train: int, n_test: int) -> None:
        super().__init__()
        self.order = EpochOrder(blocks, count)
        self.n_train, self.n_test = n_train, n_test

    @override
    def train_dataloader(self) -> DataLoader[torch.Tensor]:
        images = Indices(self.n_train)
        return DataLoader(images, batch_size=None, sampler=self.order, num_workers=0)

    @override
    def val_dataloader(self) -> DataLoader[torch.Tensor]:
        everything = [torch.arange(self.n_test)]
        return DataLoader(Indices(self.n_test), batch_size=None, sampler=everything, num_workers=0)
