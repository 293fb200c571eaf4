"""Batches in the protocol's order, through PyTorch's own `TensorDataset` and `DataLoader`."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from mnist_gpu.protocol.dataset import normalise
from mnist_gpu.protocol.streams import epoch_order

Batch = tuple[Tensor, Tensor]
# half of PyTorch's own MNIST example's: what an evaluation computes in between is most of a run's
# memory. Not so few that malloc would keep it (32 MiB and less) and change what a step costs
EVALUATION_BATCH = 500


def tensors(images: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8]) -> TensorDataset:
    """Normalised images (n, 1, 28, 28) float32 and labels (n,) int64, in memory."""
    return TensorDataset(
        torch.from_numpy(normalise(images)).unsqueeze(1),
        torch.from_numpy(labels.astype(np.int64)),
    )


class EpochOrder(DistributedSampler[Batch]):
    """The protocol's order: one permutation for each (seed, epoch), the same on every machine.

    A `DistributedSampler`, so that Lightning leaves it in its place: on several devices each batch
    of the protocol is cut into equal runs of images, one for each device. Where the images cannot
    be shared evenly, the first ones of the epoch are visited again, as PyTorch's own sampler does.

    Args:
        dataset: what is sampled.
        batch_size: images of one device in a batch.
        seed: of the permutations, 0 <= seed < 2**32.
        world_size, rank: how many devices there are, and which this is, from 0.
        first_epoch: the protocol's number of the epoch that `set_epoch(0)` means.
    """

    def __init__(
        self,
        dataset: TensorDataset,
        batch_size: int,
        seed: int,
        world_size: int = 1,
        rank: int = 0,
        first_epoch: int = 1,
    ) -> None:
        super().__init__(dataset, num_replicas=world_size, rank=rank, seed=seed)
        self.batch_size = batch_size
        self.first_epoch = first_epoch

    def indices(self) -> npt.NDArray[np.int64]:
        """Images of this device in the epoch that `set_epoch` chose: (len(self),) int64."""
        n = len(self.dataset)  # type: ignore[arg-type]
        order = epoch_order(self.seed, self.first_epoch + self.epoch, n)
        # as many indices for each device, or one of them would wait for the others for ever
        order = np.concatenate([order, order[: -n % self.num_replicas]])
        whole = len(order) - len(order) % (self.batch_size * self.num_replicas)
        # of every whole batch each device has one run; what is left is cut likewise
        batches = order[:whole].reshape(-1, self.num_replicas, self.batch_size)
        rest = order[whole:].reshape(self.num_replicas, -1)
        return np.concatenate([batches[:, self.rank].ravel(), rest[self.rank]])

    def __iter__(self) -> Iterator[int]:  # type: ignore[override]
        return iter(self.indices().tolist())


def train_loader(order: EpochOrder) -> DataLoader[Batch]:
    """Training batches, the last and smaller one included; everything else as it comes.

    A loader draws a number whenever it is iterated. From a generator of its own: dropout's stream
    shall not depend on how often that was.
    """
    return DataLoader(
        order.dataset, batch_size=order.batch_size, sampler=order, generator=torch.Generator()
    )
