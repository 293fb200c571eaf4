"""What every engine must be able to do, and which of its switches a run has on."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from mnist_gpu.errors import UserError
from mnist_gpu.paths import packaged
from mnist_gpu.protocol.workload import EngineFacts, Metrics, State, Weights, Workload
from mnist_gpu.timing.timeline import Timeline

Switches = dict[str, bool | int | str]
KINDS = {bool: "true or false", int: "a whole number from 1"}


@dataclass(frozen=True)
class EngineOptions:
    """How an engine is to train, beside what.

    Attributes:
        division: `stock`; `tuned`: every switch that helps on the device, by `switches.yaml`;
            `open`: kernels of this project's own as well.
        switches: values of single switches by name; None leaves one to the division.
        backend: Keras': tensorflow, jax or torch.
        make_trainer: makes the Trainer that the configuration names, with further arguments; None:
            Lightning's own, quiet.
        callbacks: more of Lightning's callbacks.
        logger: one of Lightning's loggers.
    """

    division: str = "stock"
    switches: Mapping[str, Any] = field(default_factory=dict)
    backend: str = "tensorflow"
    make_trainer: Callable[..., Any] | None = None
    callbacks: Sequence[Any] = ()
    logger: Any = None


def switched_on(
    options: EngineOptions,
    engine: str,
    device: str,
    possible: Mapping[str, type],
    stock: Mapping[str, Any] | None = None,
) -> Switches:
    """The documented public switches that a run has on; one at its stock value is no switch.

    Tuned is stock plus those that help: measured (`scripts/bench --switches`) and kept, with date
    and source, in `switches.yaml`, by engine and kind of device.

    Args:
        options: of the run.
        engine: name of the engine.
        device: kind of device, such as `cuda`.
        possible: what the engine has on this device, and whether it takes a `bool` or an `int`.
        stock: the value that a switch has in stock; False where it is not named.

    Raises:
        UserError: a switch that is not among the possible ones, or a value of another type; or
            `division=tuned` where no switch is known to help.
    """
    there = ", ".join(possible) or "none"
    asked = {name: value for name, value in options.switches.items() if value is not None}
    for name, value in asked.items():
        if name not in possible:
            raise UserError(
                f"engine.switches.{name}={value}: engine={engine} has no such switch on {device};"
                f" there are {there}"
            )
        kind = possible[name]
        # not `isinstance`: a bool is an int for Python, and not for a person
        of_kind = type(value) is kind
        if not of_kind or (kind is int and value < 1):
            raise UserError(f"engine.switches.{name}={value}: {KINDS[kind]}")
    chosen = asked
    if options.division in ("tuned", "open"):
        table = packaged("engines/switches")[options.division]
        helpful = table.get(engine, {}).get(device) or {}
        # what is asked for wins, also where it switches something off
        chosen = {name: value for name, value in helpful.items() if name in possible} | asked
    # so that a stock run stays one, however it was asked for
    on = {k: v for k, v in chosen.items() if v != (stock or {}).get(k, False)}
    if options.division == "tuned" and not on:
        raise UserError(
            f"division=tuned: no switch is known to make engine={engine} faster on {device};"
            f" use division=stock, or choose among {there} with engine.switches.<name>"
        )
    return on


class Engine(ABC):
    """One framework training one workload on one accelerator.

    The caller times the phases: it calls `build`, `warm_up`, then `fit`, and `synchronise` at every
    edge between phases. An engine never reads a clock.

    Attributes:
        version: raised when the engine's speed or mathematics changes; rows mix no two.

    Args:
        workload: what to train.
        options: division, switches and the like.
        accelerator: `cpu`, `cuda`, `mps` or `auto`.
    """

    version: ClassVar[int] = 1

    def __init__(self, workload: Workload, options: EngineOptions, accelerator: str) -> None:
        self.workload = workload
        self.options = options
        self.accelerator = accelerator

    @abstractmethod
    def build(self) -> None:
        """Choose the device, build data, network and optimizer.

        Raises:
            UserError: the accelerator, the framework or a switch is not there.
        """

    @abstractmethod
    def warm_up(self) -> None:
        """Have kernels loaded, compiled and chosen, and leave weights, optimizer and random state
        as they were."""

    @abstractmethod
    def fit(self, timeline: Timeline) -> None:
        """Train and evaluate every remaining epoch; `timeline` keeps the time and the history.

        Dropout draws from a stream that depends on (seed, epoch) alone, so that a run resumed at an
        epoch's edge continues as if it had never stopped.

        Raises:
            Interrupted, Diverged: from the timeline.
        """

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

    def trace(self, steps: int, folder: Path) -> None:
        """Leave a trace of `steps` optimizer steps in `folder`, and everything else as it was.

        Raises:
            UserError: the framework has no profiler.
        """
        raise UserError(f"profile_steps={steps}: {self.facts().framework} leaves no trace; use 0")

    def weights(self) -> Weights:
        """The parameters, on the host, in PyTorch's layout."""
        prefix = "weights/"
        return {k.removeprefix(prefix): v for k, v in self.state().items() if k.startswith(prefix)}

    def steps_made(self) -> int:
        """Optimizer steps made so far, as the optimizer itself counts them."""
        # not the number of batches: a scaler of 16-mixed leaves steps out
        return int(self.state()["adam_step"])

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Release what the engine holds (graphs, threads, processes)."""


class LoopEngine(Engine):
    """An engine whose loop over the epochs is written out, as its framework's tutorials do."""

    @abstractmethod
    def train_epoch(self, epoch: int, timeline: Timeline) -> Metrics:
        """Make every optimizer step of epoch `epoch` (from 1).

        `timeline` goes through the batches (`batches`), or is told of steps (`progressed`).

        Returns:
            Means over the epoch's images of the training-mode loss and accuracy.
        """

    @abstractmethod
    def evaluate(self) -> Metrics:
        """Loss and accuracy over the whole test set, dropout off."""

    def fit(self, timeline: Timeline) -> None:
        """Train and evaluate every remaining epoch."""
        for epoch in timeline.remaining():
            timeline.training(epoch)
            train = self.train_epoch(epoch, timeline)
            timeline.trained()
            timeline.evaluated(train, self.evaluate())
