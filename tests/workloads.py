"""Small pieces of the real problem: MNIST's first images, and engines that train on them."""

import subprocess
import sys
from collections.abc import Set
from dataclasses import replace
from functools import cache

from mnist_gpu import data, engines
from mnist_gpu.engines.base import Engine, EngineOptions
from mnist_gpu.protocol.dataset import Dataset
from mnist_gpu.protocol.network import initial_weights, named_network
from mnist_gpu.protocol.workload import Workload
from mnist_gpu.timing.stopwatch import Stopwatch
from mnist_gpu.timing.timeline import Timeline


@cache
def mnist(folder: str) -> Dataset:
    """The whole set, read once."""
    return data.load({"source": "mnist", "dir": folder})


def first_images(dataset: Dataset, n_train: int, n_test: int = 500) -> Dataset:
    """The first images of both parts."""
    return replace(
        dataset,
        train_images=dataset.train_images[:n_train],
        train_labels=dataset.train_labels[:n_train],
        test_images=dataset.test_images[:n_test],
        test_labels=dataset.test_labels[:n_test],
    )


def workload(dataset: Dataset, model: str = "mlp", dropout: bool = True, **changes) -> Workload:
    """The protocol's problem on `dataset`."""
    network = named_network(model, dropout)
    weights = initial_weights(network, changes.get("seed", 0))
    return Workload(network, dataset, weights, **{"epochs": 1, **changes})


def built(load: Workload, name: str, division: str = "stock", **switches) -> Engine:
    """An engine on the CPU, ready to train."""
    options = EngineOptions(division=division, switches=switches)
    engine = engines.find(name)(load, options, "cpu")
    engine.build()
    return engine


def fitted(engine: Engine, observers=(), history=(), epochs: int | None = None) -> Timeline:
    """Train to the end; gives what the run would know of it."""
    stopwatch = Stopwatch(synchronise=engine.synchronise, phase="other")
    timeline = Timeline(stopwatch, epochs or engine.workload.epochs, observers, history)
    engine.fit(timeline)
    return timeline


def imported_by(engine: str, among: Set[str]) -> set[str]:
    """Which of the packages `among` finding an engine loads, in a new process."""
    script = (
        "import sys\nfrom mnist_gpu import engines\n"
        f"engines.find({engine!r})\n"
        f"print(*set(sys.modules) & {set(among)!r})"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stdout.split())
