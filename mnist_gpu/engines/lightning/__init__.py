"""`engine=lightning`: the Trainer drives the module over the data module."""

import logging
import warnings
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import lightning.pytorch as L
import numpy as np
import numpy.typing as npt
import torch

from mnist_gpu.engines.base import Engine
from mnist_gpu.engines.lightning import processes
from mnist_gpu.engines.lightning.callbacks import RunCallback
from mnist_gpu.engines.lightning.data import MNISTDataModule
from mnist_gpu.engines.lightning.module import MNISTModule
from mnist_gpu.engines.lightning.tuned import GraphedModule, ResidentDataModule, TunedModule
from mnist_gpu.engines.torch import parts
from mnist_gpu.engines.torch.device import choose
from mnist_gpu.engines.torch.state import load_state, take_state
from mnist_gpu.protocol.workload import EngineFacts, State
from mnist_gpu.timing.timeline import Timeline

PRECISIONS: dict[str, Any] = {"float32": "32-true", "tf32": "32-true", "float64": "64-true"}
QUIET: dict[str, Any] = {
    "num_sanity_val_steps": 0,
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
DEVIATIONS = ("the Trainer's progress bar, summary, logger, checkpoints and sanity check are off",)


class LightningEngine(Engine):
    """PyTorch Lightning, automatic optimization."""

    version: ClassVar[int] = 1

    def build(self) -> None:
        """Let the Trainer pick the accelerator; make module and data module."""
        workload = self.workload
        # the complaint about a missing accelerator is ours, in one line
        device = choose(self.accelerator, workload.devices)
        _quieten()
        make_trainer = self.options.make_trainer or partial(L.Trainer, **QUIET)
        logger = {} if self.options.logger is None else {"logger": self.options.logger}
        self.trainer: Any = make_trainer(
            accelerator=device.type,
            devices=workload.devices,
            num_nodes=workload.num_nodes,
            strategy=processes.strategy(workload),
            plugins=[processes.environment()],
            precision=PRECISIONS.get(workload.precision, workload.precision),
            max_epochs=workload.epochs,
            callbacks=list(self.options.callbacks),
            **logger,
        )
        self.device = processes.join(self.trainer, workload)
        self.parts = parts.make_parts(workload, self.options, "lightning", self.device)
        self.module = self._make_module()
        self.data = self._make_data()
        self._pending: State | None = None

    def warm_up(self) -> None:
        """Have kernels loaded and chosen: a forward and a backward pass of each batch size."""
        images, labels = self.parts.train.tensors
        size = self.workload.batch_size // self.workload.world_size
        self.module.train()
        for count in (size, len(labels) % size or size):
            dtype = next(self.module.parameters()).dtype
            logits = self.module(images[:count].to(self.device, dtype))
            torch.nn.functional.cross_entropy(logits, labels[:count].to(self.device)).backward()
        self.module.zero_grad()
        parts.evaluate(self.module.network, self.parts.test, self.device)

    def fit(self, timeline: Timeline) -> None:
        """Hand every remaining epoch to the Trainer."""
        trained = self.trainer.current_epoch

        def began(trainer: L.Trainer) -> None:
            # the protocol's number of the Trainer's epoch 0
            first = self._agree(timeline.remaining().start) - trained
            self.module.first_epoch = self.data.first_epoch = callback.first_epoch = first
            if self._pending is not None:
                load_state(self.module.network, trainer.optimizers[0], self._pending)
                self._pending = None

        images = (len(self.parts.train), len(self.parts.test))
        callback = RunCallback(timeline, images, began)
        self.trainer.callbacks.insert(0, callback)
        self.trainer.fit_loop.max_epochs = trained + len(timeline.remaining())
        try:
            self.trainer.fit(self.module, datamodule=self.data)
        finally:
            # not `remove`: the callback has put the Trainer's into another order, in a new list
            self.trainer.callbacks = [c for c in self.trainer.callbacks if c is not callback]
        # the Trainer leaves the module on the host
        self.module.to(self.device)

    def predict(self) -> npt.NDArray[np.float32]:
        """Logits over the test set."""
        return parts.predict(self.module.network, self.parts.test, self.device)

    def synchronise(self) -> None:
        """Wait for the device."""
        parts.synchronise(self.device)

    def state(self) -> State:
        """Weights and moments."""
        if self._pending is not None:
            return self._pending
        optimizers = self.trainer.optimizers
        return take_state(self.module.network, optimizers[0] if optimizers else None)

    def load_state(self, state: State) -> None:
        """Continue from `state`; the optimizer, which the Trainer makes, gets it at the start."""
        load_state(self.module.network, None, state)
        self._pending = state

    def facts(self) -> EngineFacts:
        """What ran: PyTorch, under Lightning."""
        facts = parts.facts(self.parts, self.workload, "PyTorch Lightning", L.__version__)
        return facts.deviating(*DEVIATIONS)

    def trace(self, steps: int, folder: Path) -> None:
        """A Chrome trace for Perfetto (`trace.json`) of `steps` forward and backward passes."""
        with torch.profiler.profile() as profile:
            for _ in range(steps):
                self.warm_up()
            self.synchronise()
        profile.export_chrome_trace(str(folder / "trace.json"))

    def close(self) -> None:
        """Part from the other processes."""
        processes.leave()

    def _make_module(self) -> MNISTModule:
        workload, switches = self.workload, self.parts.switches
        arguments = (workload.network, workload.learning_rate, workload.seed)
        if switches.get("cuda_graphs"):
            module: MNISTModule = GraphedModule(
                *arguments, switches, precision_name=workload.precision
            )
        elif switches:
            module = TunedModule(*arguments, switches)
        else:
            module = MNISTModule(*arguments)
        # on its device, with this run's weights; the open division's has kernels in it
        module.network = self.parts.network
        return module

    def _make_data(self) -> MNISTDataModule:
        kind = ResidentDataModule if self.parts.switches.get("resident_data") else MNISTDataModule
        data = kind.of(
            self.workload.dataset,
            self.workload.batch_size // self.workload.world_size,
            self.workload.seed,
        )
        # one copy of the images in memory
        data.train, data.test = self.parts.train, self.parts.test
        if isinstance(data, ResidentDataModule):
            data.device = self.device
        return data

    def _agree(self, first_epoch: int) -> int:
        """The first process alone has read the checkpoint: the others take over what it found."""
        if self.workload.world_size == 1:
            return first_epoch
        agreed: int = self.trainer.strategy.broadcast(first_epoch)
        self._pending = self.trainer.strategy.broadcast(self._pending)
        if self._pending is not None:
            load_state(self.module.network, None, self._pending)
        return agreed


def _quieten() -> None:
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\.")


ENGINE = LightningEngine
