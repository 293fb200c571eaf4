"""What an engine is given (a workload), what it gives back, and what it says of itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
    """One training problem."""

    network: Network
    dataset: Dataset
    initial_weights: Weights  # drawn from the seed, float32
    epochs: int = 50
    batch_size: int = 64  # images of one optimizer step, over all devices
    learning_rate: float = 1e-3  # of Adam
    seed: int = 0  # of the batch order and the dropout streams
    precision: str = "float32"  # or tf32, bf16-mixed, 16-mixed, float64
    devices: int = 1  # of each machine; they share every batch
    num_nodes: int = 1  # machines

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


def most_skipped(precision: str, steps: int) -> int:
    """How many of so many optimizer steps may be left out in `precision`.

    In float16 the scaler of the loss leaves out steps whose gradients overflow: some until it has
    found its scale, and later about one whenever it tries a larger one, every 2,000 steps
    (https://docs.pytorch.org/docs/stable/amp.html#gradient-scaling).
    """
    return 20 + steps // 500 if precision == "16-mixed" else 0


def fewest_steps(epochs: int, per_epoch: int, devices: int, precision: str) -> int:
    """How many optimizer steps so many whole epochs have at least, on so many devices."""
    # each of several devices takes its share of the images, padded or cut to whole batches
    uneven = 2 * epochs if devices > 1 else 0
    return epochs * per_epoch - uneven - most_skipped(precision, epochs * per_epoch)


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

    framework: str  # such as PyTorch Lightning
    framework_version: str
    backend: str  # what computes underneath
    precision: str  # of the arithmetic, by the protocol's name
    accelerator: str  # cpu, cuda, mps
    accelerator_name: str  # what the device calls itself
    accelerator_count: int = 1  # over all machines
    threads: int | None = None  # that it computes with on a CPU; None where it does not tell
    compile: str = "none"  # or what compiled the step
    deterministic: bool = True  # whether the same seed gives the same bits again on this machine
    # documented public switches that were on
    switches: Mapping[str, bool | int | str] = field(default_factory=dict)
    kernels: Sequence[str] = ()  # this project's own that computed
    # where a default of the framework was set aside, a line each
    deviations_from_defaults: Sequence[str] = ()
    # why the wait for batches cannot be known; None where it is measured
    data_wait_hidden: str | None = None

    def division(self, environment: Mapping[str, str]) -> str:
        """`stock`, `tuned` or `open`, from what was on; what the user's environment changes in
        speed counts as a switch."""
        if self.kernels:
            return "open"
        return "tuned" if self.switches or environment else "stock"
