"""`engine=torch`: the loop of PyTorch's own MNIST example. Lightning's cost is the difference."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from mnist_gpu.engines.base import LoopEngine
from mnist_gpu.engines.torch.common import PyTorchEngine
from mnist_gpu.engines.torch.data import EpochOrder, train_loader
from mnist_gpu.engines.torch.device import choose
from mnist_gpu.engines.torch.network import load_state, take_state
from mnist_gpu.engines.torch.step import TrainStep
from mnist_gpu.engines.torch.tuning import GraphedStep, ResidentLoader, adam_arguments
from mnist_gpu.protocol.engine_facts import EngineFacts
from mnist_gpu.protocol.metrics import Metrics
from mnist_gpu.protocol.streams import dropout_seed
from mnist_gpu.protocol.workload import State
from mnist_gpu.timing.timeline import Timeline


class TorchEngine(PyTorchEngine, LoopEngine):
    """Plain PyTorch."""

    @override
    def build(self) -> None:
        workload = self.workload
        self.make_parts("torch", choose(self.accelerator))
        self.optimizer = torch.optim.Adam(
            self.network.parameters(), lr=workload.learning_rate, **adam_arguments(self.switches)
        )
        self.order = EpochOrder(self.train, workload.batch_size, workload.seed)
        self.loader: Any = train_loader(self.order)
        if self.switches.get("resident_data"):
            self.loader = ResidentLoader(self.order, self.device)
        self.step = TrainStep(self.network, self.optimizer, workload.precision, self.device)
        self.train_on: Callable[[Tensor, Tensor], None] = self.step

    @override
    def train_epoch(self, epoch: int, timeline: Timeline) -> Metrics:
        torch.manual_seed(dropout_seed(self.workload.seed, epoch))
        self.order.set_epoch(epoch - 1)
        self.network.train()
        for images, labels in timeline.batches(self.loader):
            self.train_on(images.to(self.device, self.dtype), labels.to(self.device))
        return self.step.metrics()

    @override
    def warm_up(self) -> None:
        super().warm_up()
        if self.switches.get("cuda_graphs"):
            [batch] = self.first_batches([self.workload.batch_size])
            self.train_on = GraphedStep(self.step, *batch)

    @override
    def rehearse(self, sizes: Sequence[int], watched: AbstractContextManager[Any]) -> None:
        before = self.state()
        self.network.train()
        with watched:
            for images, labels in self.first_batches(sizes):
                self.train_on(images, labels)
            self.synchronise()
        self.step.reset()
        self.load_state(before)

    @override
    def state(self) -> State:
        return take_state(self.network, self.optimizer)

    @override
    def load_state(self, state: State) -> None:
        load_state(self.network, self.optimizer, state)

    @override
    def facts(self) -> EngineFacts:
        return self.facts_of("PyTorch", torch.__version__, self.device.type)


ENGINE = TorchEngine
