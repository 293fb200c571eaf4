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
    """One training problem, the same object for every engine.

    `steps_per_execution` is how many optimizer steps one call to the framework makes; 0 lets the
    engine choose its best, -1 is a whole epoch. `precision` is float32, tf32,
    bf16-mixed, 16-mixed or float64. `devices` are those of each of `num_nodes` machines; they share
    every batch. With `ensemble` above 1 that many seeds, counted from `seed`, are trained at once.
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
    steps_per_execution: int = 0
    num_nodes: int = 1
    ensemble: int = 1

    @property
    def world(self) -> int:
        """How many devices train together, on all machines."""
        return self.devices * self.num_nodes

    @property
    def seeds(self) -> range:
        """The seeds that are trained."""
        return range(self.seed, self.seed + self.ensemble)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch; the last, smaller batch is kept."""
        return -(-len(self.dataset.train_labels) // self.batch_size)

    def order(self, epoch: int) -> npt.NDArray[np.int64]:
        """The order in which epoch `epoch` (from 1) visits the training images: (n,) int64."""
        return self.order_of(self.seed, epoch)

    def order_of(self, seed: int, epoch: int) -> npt.NDArray[np.int64]:
        """The same for one of `seeds`."""
        return epoch_order(seed, epoch, len(self.dataset.train_labels))
