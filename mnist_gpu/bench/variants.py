"""What can be timed: engines with their divisions and switches, and frameworks' code alone.

Written as in `mnist_gpu.parity`: `torch`, `lightning+fused_adam`, `torch+open`; `alone:keras` is
the framework's own code.
"""

import importlib.util
import sys
from io import StringIO

from mnist_gpu import engines
from mnist_gpu.bench.alone import ALONE, Once
from mnist_gpu.engines.base import Engine, EngineOptions
from mnist_gpu.errors import UserError
from mnist_gpu.parity.pairs import FRAMEWORKS, parse
from mnist_gpu.protocol.workload import Workload
from mnist_gpu.runs import console
from mnist_gpu.timing.stopwatch import Stopwatch
from mnist_gpu.timing.timeline import Timeline

DESCRIPTIONS = {
    "alone:torch": "PyTorch's MNIST example, alone",
    "alone:lightning": "the module in a Trainer, alone",
    "alone:keras": "`keras.fit`, alone",
    "alone:tensorflow": "TensorFlow's quickstart, alone",
}


def make(variant: str, load: Workload) -> Once:
    """A function that trains `load` once and gives its training seconds.

    Raises:
        UserError: there is no such variant, or its framework is not installed.
    """
    if variant.startswith("alone:"):
        name = variant.removeprefix("alone:")
        if name not in ALONE:
            raise UserError(f"{variant}: choose from {', '.join(f'alone:{n}' for n in ALONE)}")
        return ALONE[name](load)
    return through_the_engine(built(variant, load))


def built(variant: str, load: Workload) -> Engine:
    """The engine of a variant, warm, on the CPU."""
    name, options = parse(variant)
    engine = engines.find(name)(load, EngineOptions(**options), "cpu")  # type: ignore[arg-type]
    engine.build()
    engine.warm_up()
    return engine


def through_the_engine(engine: Engine) -> Once:
    """Train an epoch as a run does: its loop, its clock, its observers."""
    steps, images = engine.workload.steps_per_epoch, len(engine.workload.dataset.train_labels)

    def once() -> float:
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


def defaults(model: str) -> list[str]:
    """All stock engines and their frameworks alone, tuned and open where there is such a thing."""
    stock = [name for engine in ALONE for name in (f"alone:{engine}", engine)]
    more = ["lightning+open", "torch+open", "mlx"]
    return [variant for variant in [*stock, *more] if installed(variant)]


def describe(variant: str) -> str:
    """For a table."""
    engine, *switches = variant.split("+")
    if variant in DESCRIPTIONS:
        return DESCRIPTIONS[variant]
    if switches == ["open"]:
        return f"engine={engine} division=open"
    return f"engine={engine}" + "".join(f" {switch}" for switch in switches)
