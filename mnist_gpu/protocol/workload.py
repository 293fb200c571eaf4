"""One training problem, the same object for every engine, and the arrays that go in and out."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mnist_gpu.protocol.dataset import Dataset
from mnist_gpu.protocol.network import Network
from mnist_gpu.protocol.streams import epoch_order

Weights = dict[str, npt.NDArray[Any]]
"""Parameters by name, in PyTorch's layout: conv (out, in, kh, kw), linear (out, in) with the
features in channel-first flatten order, bias (out,)."""

State = dict[str, npt.NDArray[Any]]
"""What a run needs to go on: `weights/<name>`, `adam_m/<name>`, `adam_v/<name>` in the layout of
`Weights`, and `adam_step` (int64, optimizer steps made). Any engine can load any engine's state."""


@dataclass(frozen=True)
class Workload:
    """One training problem.

    Attributes:
        network: the layers.
        dataset: images and labels.
        initial_weights: drawn from the seed, float32.
        epochs: how many in all.
        batch_size: images of one optimizer step, over all devices.
        learning_rate: of Adam.
        seed: of the batch order and the dropout streams.
        precision: float32, tf32, bf16-mixed, 16-mixed or float64.
        devices: of each machine; they share every batch.
        num_nodes: machines.
    """

    network: Network
    dataset: Dataset
    initial_weights: Weights
    epochs: int = 50
    batch_size: int = 64
    learning_rate: float = 1e-3
    seed: int = 0
    precision: str = "float32"
    devices: int = 1
    num_nodes: int = 1

    @property
    def world_size(self) -> int:
        """How many devices train together, on all machines."""
        return self.devices * self.num_nodes

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch; the last, smaller batch is kept."""
        return -(-len(self.dataset.train_labels) // self.batch_size)

    def order(self, epoch: int) -> npt.NDArray[np.int64]:
        """The order in which epoch `epoch` (from 1) visits the training images: (n,) int64."""
        return epoch_order(self.seed, epoch, len(self.dataset.train_labels))
