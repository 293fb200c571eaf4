"""An engine without a framework that fails as it is told to, for provoking faults in a second."""

import runpy
import signal
import socket
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import mnist_gpu
from mnist_gpu import engines
from mnist_gpu.engines.base import LoopEngine
from mnist_gpu.errors import UserError
from mnist_gpu.protocol.workload import EngineFacts, Metrics
from mnist_gpu.records.schema import Record
from mnist_gpu.records.store import read_record
from tests.records import SET_ASIDE


class FaultyEngine(LoopEngine):
    """Trains nothing, deterministically. `plan` maps the name of a method to what it does."""

    plan: ClassVar[dict] = {}

    def _do(self, name: str) -> None:
        self.plan.get(name, lambda engine: None)(self)

    def build(self) -> None:
        self.array = np.zeros(64, np.float32)
        self.epoch = 0
        self._do("build")

    def warm_up(self) -> None:
        self._do("warm_up")

    def train_epoch(self, epoch, timeline):
        self.epoch = epoch
        self.array = self.array * np.float32(1.5) + np.float32(epoch)
        self._do("train_epoch")
        timeline.progressed(1)
        return Metrics(getattr(self, "loss", 1.0 / epoch), 0.5)

    def evaluate(self):
        self._do("evaluate")
        return Metrics(0.5 / self.epoch, 0.9)

    def predict(self):
        self._do("predict")
        return np.zeros((len(self.workload.dataset.test_labels), 10), np.float32)

    def synchronise(self) -> None:
        self._do("synchronise")

    def state(self):
        self._do("state")
        return {
            "weights/fc1.weight": self.array.copy(),
            "adam_step": np.array(self.epoch * self.workload.steps_per_epoch),
        }

    def load_state(self, state) -> None:
        self.array = state["weights/fc1.weight"].copy()

    def facts(self) -> EngineFacts:
        facts = EngineFacts("PyTorch", "2.15", "cpu", "float32", "cpu", "cpu", threads=1)
        return replace(facts, deviations_from_defaults=tuple(SET_ASIDE))


def installed(**plan) -> type[FaultyEngine]:
    """Make `engine=torch` mean an engine that does as `plan` says."""
    engine = type("PlannedEngine", (FaultyEngine,), {"plan": plan})
    engines.find = lambda name: engine
    return engine


def waits_for_signals(engine) -> None:
    """Say that training has begun, and go on when a signal came; a second one ends it."""
    arrived, announced = socket.socketpair()
    announced.setblocking(False)
    signal.set_wakeup_fd(announced.fileno())
    print("begun", flush=True)
    arrived.recv(1)
    with suppress(BrokenPipeError):
        print("noted", flush=True)
    if getattr(engine, "stubborn", False):
        arrived.recv(1)


def child(stubborn: bool) -> None:
    """The command line, with an engine that waits for signals."""
    installed(train_epoch=waits_for_signals).stubborn = stubborn
    runpy.run_module("mnist_gpu.train", run_name="__main__")


def raises(fault: BaseException, epoch: int = 2):
    """A part of a plan: fail in an epoch."""

    def act(engine) -> None:
        if engine.epoch == epoch:
            raise fault

    return act


def refusal(overrides) -> str:
    """The one line that a run ends with."""
    with pytest.raises(UserError) as fault:
        mnist_gpu.run(overrides)
    assert "\n" not in str(fault.value)
    return str(fault.value)


def record_of(folder: Path) -> Record:
    """The record of the only run there."""
    found = list(folder.glob("outputs/cpu/*/record.json"))
    assert len(found) == 1, found
    return read_record(found[0])
