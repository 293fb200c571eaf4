"""What every engine must be able to do."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mnist_gpu.engines.facts import EngineFacts
from mnist_gpu.errors import UserError
from mnist_gpu.protocol.metrics import Metrics
from mnist_gpu.protocol.workload import State, Weights, Workload

if TYPE_CHECKING:
    from mnist_gpu.timing.timeline import Timeline


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

    def fit(self, timeline: "Timeline") -> None:
        """Train and evaluate every remaining epoch; `timeline` keeps the time and the history."""
        for epoch in timeline.remaining():
            timeline.training(epoch)
            timeline.trained(self.train_epoch(epoch, timeline.progressed))
            timeline.evaluated(self.evaluate())

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
