"""What can be timed and compared: engines with their divisions and switches, and frameworks' code
alone.

Written `engine[:backend][+switch[=number]…]`, as `torch`, `lightning+fused_adam`, `torch+open` for
the open division; `alone:keras` is the framework's own code.
"""

import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from io import StringIO

from mnist_gpu import data, engines
from mnist_gpu.bench.alone import BATCH, LOOPS
from mnist_gpu.engines.base import Engine, EngineOptions
from mnist_gpu.errors import UserError
from mnist_gpu.protocol.dataset import Dataset
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
OF_KERAS_LAYERS = ("steps_per_execution=5", "jit_compile", "resident_data", "no_autotune")


def parse(variant: str) -> tuple[str, EngineOptions]:
    """The engine of a variant, and its options; UserError where there is no such engine."""
    first, *more = variant.split("+")
    engine, _, backend = first.partition(":")
    if engine not in engines.names():
        raise UserError(f"{engine}: no such engine; choose from {', '.join(engines.names())}")
    named = [switch.partition("=") for switch in more if switch != "open"]
    return engine, EngineOptions(
        backend=backend or "tensorflow",
        division="open" if "open" in more else "stock",
        switches={name: int(number) if number else True for name, _, number in named},
    )


def switches_on(engine: str, accelerator: str) -> Sequence[str]:
    """The switches that an engine has there; `auto` is the device that PyTorch picks by itself."""
    if engine not in ("lightning", "torch"):
        return OF_KERAS_LAYERS if engine in ALONE else ()
    from mnist_gpu.engines.torch import tuning
    from mnist_gpu.engines.torch.device import choose

    return list(tuning.possible(choose(accelerator), world_size=1))


def whole(model: str, epochs: int = 1, seed: int = 0) -> Workload:
    """The protocol's training of all images."""
    network = named_network(model)
    dataset = data.load({"source": "auto"}, announce=lambda line: None)
    weights = initial_weights(network, seed)
    return Workload(network, dataset, weights, epochs, batch_size=BATCH, seed=seed)


def slice_of(model: str, steps: int, test_images: int | None = BATCH) -> Workload:
    """One epoch of so many optimizer steps of the protocol's batch, on the first images."""
    load = whole(model)
    return replace(load, dataset=first_images(load.dataset, steps * BATCH, test_images))


def first_images(dataset: Dataset, train: int, test: int | None) -> Dataset:
    """The data set with so many of its images; None leaves all."""
    return replace(
        dataset,
        train_images=dataset.train_images[:train],
        train_labels=dataset.train_labels[:train],
        test_images=dataset.test_images[:test],
        test_labels=dataset.test_labels[:test],
    )


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
    engine = engines.find(name)(load, options, "auto")
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
    # an engine is named after the package that it needs
    name = variant.removeprefix("alone:").partition("+")[0].partition(":")[0]
    if name == "mlx" and sys.platform != "darwin":
        return False
    return importlib.util.find_spec(name) is not None


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
