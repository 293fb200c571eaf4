"""`engine=torch`: the loop of PyTorch's own MNIST example. Lightning's cost is the difference."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from mnist_gpu.engines.base import LoopEngine
from mnist_gpu.engines.torch import parts, precision, tuning
from mnist_gpu.engines.torch.data import EpochOrder, ResidentLoader, train_loader
from mnist_gpu.engines.torch.device import choose
from mnist_gpu.engines.torch.graphs import GraphedStep
from mnist_gpu.engines.torch.state import load_state, take_state
from mnist_gpu.engines.torch.step import Totals, TrainStep
from mnist_gpu.protocol.streams import dropout_seed
from mnist_gpu.protocol.workload import EngineFacts, Metrics, State
from mnist_gpu.timing.timeline import Timeline


class TorchEngine(LoopEngine):
    """Plain PyTorch."""

    version: ClassVar[int] = 1

    def build(self) -> None:
        """Network, optimizer and loader, as in PyTorch's MNIST example."""
        workload = self.workload
        self.device = choose(self.accelerator)
        self.parts = parts.make_parts(workload, self.options, "torch", self.device)
        self.network = self.parts.network
        self.optimizer = torch.optim.Adam(
            self.network.parameters(),
            lr=workload.learning_rate,
            **tuning.adam_arguments(self.parts.switches),
        )
        self.order = EpochOrder(self.parts.train, workload.batch_size, workload.seed)
        self.loader = (
            ResidentLoader(self.order, self.device)
            if self.parts.switches.get("resident_data")
            else train_loader(self.order)
        )
        self.totals = Totals(self.device, precision.parameter_dtype(workload.precision))
        scaled = workload.precision == "16-mixed"
        self.step: TrainStep | GraphedStep = TrainStep(
            self.network,
            self.optimizer,
            precision.autocast(workload.precision, self.device),
            torch.amp.GradScaler(self.device.type) if scaled else None,
            self.totals,
        )

    def warm_up(self) -> None:
        """Make a step of each batch size and evaluate once, then put everything back."""
        before = self.state()
        images, labels = self.parts.train.tensors
        size, n = self.workload.batch_size, len(labels)
        dtype = precision.parameter_dtype(self.workload.precision)
        self.network.train()
        for count in (size, n % size or size):
            self.step(images[:count].to(self.device, dtype), labels[:count].to(self.device))
        if self.parts.switches.get("cuda_graphs"):
            assert isinstance(self.step, TrainStep)
            self.step = GraphedStep(self.step)
            self.step.prepare(images[:size].to(self.device, dtype), labels[:size].to(self.device))
        self.totals.reset()
        self.evaluate()
        self.load_state(before)

    def train_epoch(self, epoch: int, timeline: Timeline) -> Metrics:
        """Go once through the training images."""
        torch.manual_seed(dropout_seed(self.workload.seed, epoch))
        self.order.set_epoch(epoch - 1)
        self.network.train()
        dtype = precision.parameter_dtype(self.workload.precision)
        for images, labels in timeline.batches(self.loader):
            self.step(images.to(self.device, dtype), labels.to(self.device))
        return self.totals.take()

    def evaluate(self) -> Metrics:
        """The test set."""
        return parts.evaluate(self.network, self.parts.test, self.device)

    def predict(self) -> npt.NDArray[np.float32]:
        """Logits over the test set."""
        return parts.predict(self.network, self.parts.test, self.device)

    def synchronise(self) -> None:
        """Wait for the device."""
        parts.synchronise(self.device)

    def state(self) -> State:
        """Weights and moments."""
        return take_state(self.network, self.optimizer)

    def load_state(self, state: State) -> None:
        """Continue from `state`."""
        load_state(self.network, self.optimizer, state)

    def trace(self, steps: int, folder: Path) -> None:
        """A Chrome trace for Perfetto (`trace.json`) and a table of operators (`operators.txt`)."""
        before = self.state()
        images, labels = self.parts.train.tensors
        size = self.workload.batch_size
        dtype = precision.parameter_dtype(self.workload.precision)
        self.network.train()
        with torch.profiler.profile() as profile:
            for _ in range(steps):
                self.step(images[:size].to(self.device, dtype), labels[:size].to(self.device))
            self.synchronise()
        profile.export_chrome_trace(str(folder / "trace.json"))
        table = profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=40)
        (folder / "operators.txt").write_text(table, encoding="utf-8")
        self.totals.reset()
        self.load_state(before)

    def facts(self) -> EngineFacts:
        """PyTorch and its version, the device, and what was switched on."""
        return parts.facts(self.parts, self.workload, "PyTorch", torch.__version__)


ENGINE = TorchEngine
