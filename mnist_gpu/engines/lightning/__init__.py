"""`engine=lightning`: the Trainer drives the module over the data module."""

import logging
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from functools import partial
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from lightning.pytorch.strategies import DDPStrategy

from mnist_gpu.engines.lightning.callbacks import RunCallback
from mnist_gpu.engines.lightning.data import MNISTDataModule
from mnist_gpu.engines.lightning.module import MNISTModule
from mnist_gpu.engines.lightning.tuned import (
    GraphedModule,
    ResidentDataModule,
    SeldomLoggingModule,
    TunedModule,
)
from mnist_gpu.engines.torch import PyTorchEngine
from mnist_gpu.engines.torch.device import choose
from mnist_gpu.engines.torch.network import load_state, take_state
from mnist_gpu.engines.torch.step import TrainStep
from mnist_gpu.measure import cpus
from mnist_gpu.measure.rank import here
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
# a process that does not answer for this long is given up
ANSWER_WITHIN = timedelta(minutes=5)
LOGGED_ONCE = "an epoch's means are logged once, at its last batch"
DEVIATION = "the Trainer's progress bar, summary, logger, checkpoints and sanity check are off"


class LightningEngine(PyTorchEngine):
    """PyTorch Lightning, automatic optimization."""

    def build(self) -> None:
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
            # plain DDP: the module is stock on several devices, too
            strategy=DDPStrategy(timeout=ANSWER_WITHIN) if workload.world_size > 1 else "auto",
            plugins=[_environment()],
            precision=PRECISIONS.get(workload.precision, workload.precision),
            max_epochs=workload.epochs,
            callbacks=list(self.options.callbacks),
            **logger,
        )
        self.make_parts("lightning", self._join())
        self.module = self._make_module()
        # on its device, with this run's weights; the open division's has kernels in it
        self.module.network = self.network
        resident = self.switches.get("resident_data")
        batch_size = workload.batch_size // workload.world_size
        self.data = (ResidentDataModule if resident else MNISTDataModule)(
            batch_size=batch_size, seed=workload.seed
        )
        # one copy of the images in memory
        self.data.train, self.data.test = self.train, self.test
        self._pending: State | None = None

    def _join(self) -> torch.device:
        """Meet the other processes, once all are there; the device of this one."""
        strategy = self.trainer.strategy
        if self.workload.world_size > 1:
            strategy.setup_environment()
            if strategy.root_device.type == "cpu":
                # as Lightning's own launcher shares the processor between its processes
                torch.set_num_threads(max(1, cpus.threads() // self.workload.devices))
        return torch.device(strategy.root_device)

    def _make_module(self) -> MNISTModule:
        workload, switches = self.workload, self.switches
        arguments = (workload.network, workload.learning_rate, workload.seed)
        if switches.get("cuda_graphs"):
            return GraphedModule(*arguments, switches=switches)
        if self.network.kernels:
            return SeldomLoggingModule(*arguments, switches=switches)
        return TunedModule(*arguments, switches=switches) if switches else MNISTModule(*arguments)

    def fit(self, timeline: Timeline) -> None:
        trained = self.trainer.current_epoch
        images = (len(self.train), len(self.test))
        callback = RunCallback(timeline, images, partial(self._began, timeline))
        self.trainer.callbacks.insert(0, callback)
        # a Trainer counts on from the epochs that it has seen
        self.trainer.fit_loop.max_epochs = trained + len(timeline.remaining())
        try:
            self.trainer.fit(self.module, datamodule=self.data)
        finally:
            # not `remove`: the callback has put the Trainer's into another order, in a new list
            self.trainer.callbacks = [c for c in self.trainer.callbacks if c is not callback]
            # the Trainer leaves the module on the host, whatever has ended it
            self.module.to(self.device)

    def _began(self, timeline: Timeline, trainer: L.Trainer) -> int:
        """Take over the loaded state; the protocol's number of the Trainer's epoch 0."""
        first = timeline.remaining().start
        if self.workload.world_size > 1:
            # the first process alone has read the checkpoint
            first = trainer.strategy.broadcast(first)
            self._pending = trainer.strategy.broadcast(self._pending)
        if self._pending is not None:
            # only here are the weights on their device and the optimizer made
            load_state(self.network, trainer.optimizers[0], self._pending)
            self._pending = None
        self.module.first_epoch = self.data.first_epoch = first - trainer.current_epoch
        return self.module.first_epoch

    def rehearse(self, sizes: Sequence[int], watched: AbstractContextManager[Any]) -> None:
        # the Trainer is yet to make its optimizer: this one is thrown away, and weights come back
        before, optimizer = self.state(), self.module.configure_optimizers()
        # what is compiled is so for the types that the Trainer will compute in
        precision = self.workload.precision
        step = TrainStep(self.network, optimizer, precision, self.device, sum(sizes))
        self.module.train()
        with watched:
            for images, labels in self.first_batches(sizes):
                step(images, labels)
            self.synchronise()
        self.module.zero_grad()
        load_state(self.network, None, before)

    def state(self) -> State:
        if self._pending is not None:
            return self._pending
        optimizers = self.trainer.optimizers
        return take_state(self.network, optimizers[0] if optimizers else None)

    def load_state(self, state: State) -> None:
        # the optimizer, which the Trainer makes, gets it at the start
        load_state(self.network, None, state)
        self._pending = state

    def facts(self) -> EngineFacts:
        backend = f"torch {torch.__version__}"
        seldom = isinstance(self.module, SeldomLoggingModule)
        lines = (DEVIATION, LOGGED_ONCE) if seldom else (DEVIATION,)
        return self.facts_of("PyTorch Lightning", L.__version__, backend, *lines)

    def close(self) -> None:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def _environment() -> ClusterEnvironment:
    """Who started this process and its peers.

    Said outright, because Lightning takes any Slurm job for one whose tasks are the devices, and
    would requeue it by itself.
    """
    started_by = here().started_by
    if started_by == "slurm":
        return SLURMEnvironment(auto_requeue=False)
    if started_by == "torchrun":
        return TorchElasticEnvironment()
    # where LOCAL_RANK is set, Lightning leaves starting processes to whoever set it
    return LightningEnvironment()


def _quieten() -> None:
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # about workers and logging intervals: advice that the protocol leaves no room for
    warnings.filterwarnings("ignore", module=r"lightning\.")


ENGINE = LightningEngine
