"""Every engine with its reference, each pair in a process of its own."""

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from functools import partial

from mnist_gpu import data, engines
from mnist_gpu.bench.turns import interleave
from mnist_gpu.bench.variants import parse, switches_on
from mnist_gpu.errors import UserError
from mnist_gpu.parity.compare import BOUND, Difference, differences, make_workload
from mnist_gpu.parity.reference import RIGHT, Faults
from mnist_gpu.paths import shipped

FAULTS = {
    "Adam's epsilon 1e-7": Faults(epsilon=1e-7),
    "epsilon before the bias correction": Faults(epsilon_hat=True),
    "no bias correction": Faults(bias_correction=False),
    "Glorot's initial weights": Faults(glorot=True),
    "flatten in channels-last order": Faults(channels_last_flatten=True),
    "the smaller batch dropped": Faults(drop_last=True),
}
# a network without convolutions has but one order to flatten in
NO_DIFFERENCE = {("mlp", "flatten in channels-last order")}


@dataclass(frozen=True)
class Row:
    """How far a model on an engine is from the reference after each epoch; `name` is the engine's,
    or that of the fault put into the reference."""

    model: str
    name: str
    found: Sequence[Difference]
    expected_apart: bool = False

    @property
    def worst(self) -> Difference:
        """The last step, and the largest difference of each kind after any epoch."""
        return Difference(*map(max, zip(*map(astuple, self.found), strict=True)))

    @property
    def apart_from(self) -> int | None:
        """The first step beyond the bound, None if there is none."""
        return next((one.step for one in self.found if one.largest > BOUND), None)

    @property
    def as_it_should_be(self) -> bool:
        """Together where they should be, apart where a fault was put in."""
        return (self.apart_from is not None) == self.expected_apart


def variants(accelerator: str = "cpu") -> Iterator[str]:
    """Every engine whose framework is there, on a device: stock, with each switch alone, with all
    of them, and open; written as `bench.variants` says."""
    for name in filter(importlib.util.find_spec, engines.names()):
        switches = switches_on(name, accelerator)
        yield from (name, *(f"{name}+{switch}" for switch in switches))
        if switches:
            yield "+".join([name, *switches])
        if name in ("lightning", "torch") and accelerator == "cpu":
            yield f"{name}+open"


def honest(
    names: Sequence[str], models: Sequence[str], steps: int, seed: int, accelerator: str = "cpu"
) -> Iterator[Row]:
    """Every variant beside the right reference, on those of the models that it trains, each as soon
    as it is known.

    Raises:
        UserError: an engine that does not exist or trains none, or whose comparison stopped.
    """
    pairs = [(model, name) for model in models for name in names if trains(name, model)]
    if not pairs:
        raise UserError(f"{', '.join(names)}: trains none of {', '.join(models)}")
    for model, name in pairs:
        yield _row(model, name, name, RIGHT, steps, seed, accelerator)


def trains(variant: str, model: str) -> bool:
    """Whether a variant's engine trains a model: any, unless `models` in its file in `conf/engine/`
    names some."""
    engine, _ = parse(variant)
    return model in shipped(f"engine/{engine}").get("models", [model])


def faulty(models: Sequence[str], steps: int, seed: int) -> Iterator[Row]:
    """The plain loop beside references that are wrong in one way each, likewise."""
    for model in models:
        for label, fault in FAULTS.items():
            if (model, label) not in NO_DIFFERENCE:
                yield _row(model, "torch", label, fault, steps, seed)


def _row(
    model: str,
    variant: str,
    label: str,
    faults: Faults,
    steps: int,
    seed: int,
    accelerator: str = "cpu",
) -> Row:
    dataset = data.load({"source": "auto"}, announce=lambda line: None)
    load = make_workload(model, "float64", steps, dataset, seed)
    # a process of its own: a framework, its backend and its switches change the one they are in
    task = partial(partial, differences, load, *parse(variant), faults, accelerator)
    name, refused = f"{variant}, {model}", list[str]()
    found = interleave({name: task}, 1, refused)
    if refused:
        raise UserError(refused[0])
    return Row(model, label, found[name][0], expected_apart=faults != RIGHT)
