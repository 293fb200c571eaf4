"""`engine=torch`: the program in a plain loop. Lightning's overhead is the difference."""

from collections.abc import Callable

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
