"""`engine=torch`: the program in a plain loop. Lightning's overhead is the difference."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from mnist_gpu.engines.base import Engine, EngineFacts, Metrics, State
from mnist_gpu.engines.torch.device import choose
from mnist_gpu.engines.torch.program import Program


class TorchEngine(Engine):
    """Plain PyTorch."""

    program: Program

    def build(self) -> None:
        """Place everything on the device."""
        self.program = Program(self.workload, self.settings, choose(self.accelerator))

    def warm_up(self) -> None:
        """Compile and capture on throw-away copies."""
        self.program.warm_up()

    def train_epoch(self, epoch: int, progress: Callable[[int], None]) -> Metrics:
        """Make the epoch's steps, a block at a time."""
        self.program.begin_epoch(epoch)
        order = torch.from_numpy(self.workload.order(epoch))
        done = 0
        for block in order.split(self.program.steps * self.workload.batch_size):
            self.program.run_steps(block)
            done += -(-len(block) // self.workload.batch_size)
            progress(done)
        return self.program.take_metrics()

    def trace(self, steps: int, folder: Path) -> None:
        """A Chrome trace for Perfetto (`trace.json`) and a table of operators (`operators.txt`)."""
        before = self.state()
        size, n = self.workload.batch_size, len(self.workload.dataset.train_labels)
        indices = torch.arange(steps * size) % n
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

    def facts(self) -> EngineFacts:
        """What ran."""
        return self.program.facts()


ENGINE = TorchEngine
