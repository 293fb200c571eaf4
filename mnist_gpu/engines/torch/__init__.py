"""`engine=torch`: the program in a plain loop. Lightning's overhead is the difference."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mnist_gpu.engines.base import Engine
from mnist_gpu.engines.facts import EngineFacts
from mnist_gpu.engines.torch.device import choose
from mnist_gpu.engines.torch.ensemble import EnsembleProgram
from mnist_gpu.engines.torch.peers import Peers
from mnist_gpu.engines.torch.program import Program
from mnist_gpu.protocol.metrics import Metrics
from mnist_gpu.protocol.workload import State, Weights, Workload


def make_program(
    workload: Workload,
    settings: Mapping[str, Any],
    device: torch.device,
    peers: Peers | None = None,
) -> Program:
    """The program for one seed, or for many at once."""
    if workload.ensemble > 1:
        return EnsembleProgram(workload, settings, device)
    return Program(workload, settings, device, peers)


class TorchEngine(Engine):
    """Plain PyTorch."""

    program: Program

    def build(self) -> None:
        """Place everything on the device."""
        self.program = make_program(self.workload, self.settings, choose(self.accelerator))

    def warm_up(self) -> None:
        """Compile and capture on throw-away copies."""
        self.program.warm_up()

    def train_epoch(self, epoch: int, progress: Callable[[int], None]) -> Metrics:
        """Make the epoch's steps, a block at a time."""
        self.program.begin_epoch(epoch)
        for number, block in enumerate(self.program.blocks(epoch), start=1):
            self.program.run_steps(block)
            progress(min(number * self.program.steps, self.workload.steps_per_epoch))
        return self.program.take_metrics()

    def trace(self, steps: int, folder: Path) -> None:
        """A Chrome trace for Perfetto (`trace.json`) and a table of operators (`operators.txt`)."""
        before = self.state()
        order = self.program.order(1)
        indices = order[..., torch.arange(steps * self.workload.batch_size) % order.shape[-1]]
        with torch.profiler.profile() as profile:
            self.program.begin_epoch(0)
            self.program.run_steps(indices)
            self.program.synchronise()
        profile.export_chrome_trace(str(folder / "trace.json"))
        table = profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=40)
        (folder / "operators.txt").write_text(table, encoding="utf-8")
        self.program.take_metrics()
        self.load_state(before)

    def evaluate(self) -> Metrics:
        """The test set."""
        return self.program.evaluate()

    def predict(self) -> npt.NDArray[np.float32]:
        """Logits over the test set."""
        return self.program.predict()

    def synchronise(self) -> None:
        """Wait for the device."""
        self.program.synchronise()

    def state(self) -> State:
        """Weights and moments."""
        return self.program.state()

    def load_state(self, state: State) -> None:
        """Continue from `state`."""
        self.program.load_state(state)

    def weights(self) -> Weights:
        """The parameters; those of an ensemble as `seed3/conv1.weight`."""
        return self.program.named_weights(super().weights())

    def member_accuracies(self) -> list[float]:
        """The test accuracy of each seed of an ensemble."""
        return self.program.member_accuracies()

    def facts(self) -> EngineFacts:
        """What ran."""
        return self.program.facts()


ENGINE = TorchEngine
