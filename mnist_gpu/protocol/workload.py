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
    """What the record says of the engine that ran.

    Attributes:
        framework, framework_version: such as PyTorch Lightning 2.6.6.
        backend: what computes underneath.
        precision: of the arithmetic, by the protocol's name.
        accelerator: `cpu`, `cuda`, `mps`.
        accelerator_name: what the device calls itself.
        accelerator_count: over all machines.
        threads: that the framework computes with on a CPU; None where it does not tell.
        compile: `none`, or what compiled the step.
        deterministic: whether the same seed gives the same bits again on this machine.
        switches: documented public switches that were on, by name.
        kernels: names of this project's own kernels that computed.
        deviations_from_defaults: where a default of the framework was set aside, a line each.
        data_wait_hidden: why the wait for batches cannot be known; None where it is measured.
    """

    framework: str
    framework_version: str
    backend: str
    precision: str
    accelerator: str
    accelerator_name: str
    accelerator_count: int = 1
    threads: int | None = None
    compile: str = "none"
    deterministic: bool = True
    switches: Mapping[str, bool | int | str] = field(default_factory=dict)
    kernels: Sequence[str] = ()
    deviations_from_defaults: Sequence[str] = ()
    data_wait_hidden: str | None = None

    def division(self, environment: Mapping[str, str]) -> str:
        """`stock`, `tuned` or `open`, from what was on.

        Args:
            environment: what the user's environment changes in speed; counts as a switch.
        """
        if self.kernels:
            return "open"
        return "tuned" if self.switches or environment else "stock"
