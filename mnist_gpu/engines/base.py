"""What every engine is given, and what it must be able to do."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mnist_gpu.data.dataset import Dataset
from mnist_gpu.data.order import epoch_order
from mnist_gpu.errors import UserError
from mnist_gpu.models.network import Network

if TYPE_CHECKING:
    from mnist_gpu.runs.journal import Journal

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


@dataclass(frozen=True)
class Metrics:
    """Mean cross-entropy (nats) and accuracy (0..1) over the images of one pass."""

    loss: float
    accuracy: float

    @classmethod
    def of_logits(cls, logits: npt.NDArray[Any], labels: npt.NDArray[np.int64]) -> "Metrics":
        """Worked out in float64 from logits (n, 10) and labels (n,)."""
        wide = logits.astype(np.float64)
        top = wide.max(1, keepdims=True)
        log_sums = np.log(np.exp(wide - top).sum(1)) + top[:, 0]
        losses = log_sums - wide[np.arange(len(labels)), labels]
        return cls(float(losses.mean()), float((wide.argmax(1) == labels).mean()))


@dataclass(frozen=True)
class EngineFacts:
    """What the record says of the engine that ran."""

    framework: str
    framework_version: str
    backend: str
    precision: str
    compile: str
    steps_per_execution: int
    accelerator: str
    accelerator_name: str
    accelerator_count: int = 1
    deterministic: bool = True
    tuning: dict[str, Any] = field(default_factory=dict)


class Engine(ABC):
    """One framework training one workload on one accelerator.

    The caller times the phases: it calls `build`, `warm_up`, then `train_epoch` and `evaluate` for
    each epoch, and `synchronise` at every edge between phases. An engine never reads a clock.

    Args:
        workload: what to train.
        settings: the engine's own options (`conf/engine/<name>.yaml`).
        accelerator: `cpu`, `cuda`, `mps` or `auto`.
    """

    def __init__(self, workload: Workload, settings: Mapping[str, Any], accelerator: str) -> None:
        self.workload = workload
        self.settings = settings
        self.accelerator = accelerator

    @abstractmethod
    def build(self) -> None:
        """Choose the device, place the data on it, build the network and the optimizer.

        Raises:
            UserError: the accelerator or the framework is not there.
        """

    @abstractmethod
    def warm_up(self) -> None:
        """Compile, trace, capture and autotune, and leave weights, optimizer and random state as
        they were."""

    @abstractmethod
    def train_epoch(self, epoch: int, progress: Callable[[int], None]) -> Metrics:
        """Make every optimizer step of epoch `epoch` (from 1).

        Dropout draws from a stream that depends on (seed, epoch) alone, so that a run resumed at an
        epoch's edge continues as if it had never stopped.

        Args:
            epoch: counted from 1.
            progress: called with the number of steps made so far in this epoch, once per execution;
                it neither synchronises nor costs anything measurable.

        Returns:
            Means over the epoch's images of the training-mode loss and accuracy.
        """

    @abstractmethod
    def evaluate(self) -> Metrics:
        """Loss and accuracy over the whole test set, dropout off."""

    @abstractmethod
    def predict(self) -> npt.NDArray[np.float32]:
        """Logits over the test set, in file order: (10000, 10) float32, dropout off."""

    @abstractmethod
    def synchronise(self) -> None:
        """Return once the device has finished all work handed to it."""

    @abstractmethod
    def state(self) -> State:
        """A copy, on the host, of everything a resumed run needs."""

    @abstractmethod
    def load_state(self, state: State) -> None:
        """Continue from `state` (of any engine)."""

    @abstractmethod
    def facts(self) -> EngineFacts:
        """What ran; valid after `build`."""

    def fit(self, journal: "Journal") -> None:
        """Train and evaluate every remaining epoch; `journal` keeps the time and the history."""
        for epoch in journal.remaining():
            journal.training(epoch)
            journal.trained(self.train_epoch(epoch, journal.progressed))
            journal.evaluated(self.evaluate())

    def trace(self, steps: int, folder: Path) -> None:
        """Leave a trace of `steps` optimizer steps in `folder`, and everything else as it was.

        Raises:
            UserError: the framework has no profiler.
        """
        raise UserError(f"profiler={steps}: {self.facts().framework} leaves no trace; use 0")

    def member_accuracies(self) -> list[float]:
        """The test accuracy of each seed of an ensemble after the last epoch; else empty."""
        return []

    def weights(self) -> Weights:
        """The parameters, on the host, in PyTorch's layout."""
        prefix = "weights/"
        return {k.removeprefix(prefix): v for k, v in self.state().items() if k.startswith(prefix)}

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Release what the engine holds (graphs, threads, processes)."""
