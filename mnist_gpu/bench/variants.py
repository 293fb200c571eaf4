"""What can be timed: engines with their divisions and switches, and frameworks' code alone.

Written as in `mnist_gpu.parity`: `torch`, `lightning+fused_adam`, `torch+open`; `alone:keras` is
the framework's own code.
"""

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import replace
from io import StringIO

from mnist_gpu import data, engines
from mnist_gpu.bench.alone import BATCH, LOOPS
from mnist_gpu.engines.base import Engine, EngineOptions
from mnist_gpu.errors import UserError
from mnist_gpu.parity.pairs import FRAMEWORKS, parse
from mnist_gpu.protocol.network import initial_weights, named_network
from mnist_gpu.protocol.workload import Workload
from mnist_gpu.runs import console
from mnist_gpu.timing.stopwatch import Stopwatch
from mnist_gpu.timing.timeline import Timeline

ALONE = {
    "torch": "PyTorch's MNIST example, alone",
    "lightning": "the module in a Trainer, alone",
    "keras": "`keras.fit`, alone",
    "tensorflow": "TensorFlow's quickstart, alone",
}


def whole(model: str, epochs: int = 1, seed: int = 0) -> Workload:
    """The protocol's training of all images."""
    network = named_network(model)
    dataset = data.load({"source": "auto"}, announce=lambda line: None)
    weights = initial_weights(network, seed)
    return Workload(network, dataset, weights, epochs, batch_size=BATCH, seed=seed)


def slice_of(model: str, steps: int, test_images: int | None = BATCH) -> Workload:
    """One epoch of `steps` optimizer steps of the protocol's batch, on the first images.

    Args:
        model: the network.
        steps: of the epoch.
        test_images: how many of them are left; None leaves all.
    """
    load = whole(model)
    part = replace(
        load.dataset,
        train_images=load.dataset.train_images[: steps * BATCH],
        train_labels=load.dataset.train_labels[: steps * BATCH],
        test_images=load.dataset.test_images[:test_images],
        test_labels=load.dataset.test_labels[:test_images],
    )
    return replace(load, dataset=part)


def epoch(variant: str, model: str, steps: int) -> Callable[[], float]:
    """A function that trains so many steps and gives their seconds; it has done so once."""
    once = make(variant, slice_of(model, steps))
    once()
    return once


def make(variant: str, load: Workload) -> Callable[[], float]:
    """A function that trains an epoch of `load` and gives its training seconds.

    Raises:
        UserError: there is no such variant, or its framework is not installed.
    """
    if not variant.startswith("alone:"):
        return _through_the_engine(built(variant, load))
    name = variant.removeprefix("alone:")
    if name not in LOOPS:
        raise UserError(f"{variant}: choose from {', '.join(f'alone:{n}' for n in LOOPS)}")
    return LOOPS[name](load)


def built(variant: str, load: Workload) -> Engine:
    """The engine of a variant, warm, on the device that it picks by itself."""
    name, options = parse(variant)
    engine = engines.find(name)(load, EngineOptions(**options), "auto")  # type: ignore[arg-type]
    engine.build()
    engine.warm_up()
    return engine


def _through_the_engine(engine: Engine) -> Callable[[], float]:
    """Train an epoch as a run does: its loop, its clock, its observers."""
    steps, images = engine.workload.steps_per_epoch, len(engine.workload.dataset.train_labels)

    def once() -> float:
        # a run shows its progress, so that belongs to what it takes
        progress = console.Progress(steps, images, StringIO())
        stopwatch = Stopwatch(synchronise=engine.synchronise, phase="other")
        timeline = Timeline(stopwatch, 1, [progress])
        engine.fit(timeline)
        return timeline.history[0].train_s

    return once


def installed(variant: str) -> bool:
    """Whether the framework of a variant is there; MLX is for Macs, and slow elsewhere."""
    name = variant.removeprefix("alone:").partition("+")[0].partition(":")[0]
    if name == "mlx" and sys.platform != "darwin":
        return False
    return importlib.util.find_spec(FRAMEWORKS[name]) is not None


def defaults() -> list[str]:
    """All stock engines and their frameworks alone, and open where there is such a thing."""
    stock = [name for engine in ALONE for name in (f"alone:{engine}", engine)]
    more = ["lightning+open", "torch+open", "mlx"]
    return [variant for variant in [*stock, *more] if installed(variant)]


def describe(variant: str) -> str:
    """For a table."""
    if variant.startswith("alone:"):
        return ALONE[variant.removeprefix("alone:")]
    engine, *switches = variant.split("+")
    if switches == ["open"]:
        return f"engine={engine} division=open"
    return " ".join([f"engine={engine}", *switches])
