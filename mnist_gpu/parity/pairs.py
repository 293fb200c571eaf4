"""Every engine with its reference, each pair in a process of its own."""

import importlib.util
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass
from multiprocessing import get_context

from mnist_gpu import data, engines
from mnist_gpu.engines.base import EngineOptions
from mnist_gpu.errors import UserError
from mnist_gpu.parity.compare import BOUND, Difference, differences, make_workload
from mnist_gpu.parity.reference import RIGHT, Faults
from mnist_gpu.paths import shipped

# an engine is named after the package that it needs
FRAMEWORKS = {name: name for name in engines.names()}
FAULTS = {
    "Adam's epsilon 1e-7": Faults(epsilon=1e-7),
    "epsilon before the bias correction": Faults(epsilon_hat=True),
    "no bias correction": Faults(bias_correction=False),
    "Glorot's initial weights": Faults(glorot=True),
    "flatten in channels-last order": Faults(channels_last_flatten=True),
    "the smaller batch dropped": Faults(drop_last=True),
}
SWITCHED = ("lightning", "torch", "keras", "tensorflow")
OF_KERAS_LAYERS = ("steps_per_execution=5", "jit_compile", "resident_data")
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


def installed() -> list[str]:
    """The engines whose framework is there."""
    return [name for name in engines.names() if importlib.util.find_spec(FRAMEWORKS[name])]


def variants(names: Sequence[str], accelerator: str = "cpu") -> list[str]:
    """Every engine on a device: stock, with each switch alone, with all of them, and open.

    A variant is written `engine[:backend][+switch[=number]…]`, `torch+open` for the open division.
    """
    found = []
    for name in names:
        switches = switches_on(name, accelerator)
        found += [name, *(f"{name}+{switch}" for switch in switches)]
        found += ["+".join([name, *switches])] if switches else []
        has_open = name in ("lightning", "torch") and accelerator == "cpu"
        found += [f"{name}+open"] if has_open else []
    return found


def switches_on(engine: str, accelerator: str) -> Sequence[str]:
    """The switches that an engine has there; `auto` is the device that PyTorch picks by itself.

    Raises:
        UserError: there is no such device here.
    """
    if engine not in ("lightning", "torch"):
        return OF_KERAS_LAYERS if engine in SWITCHED else ()
    from mnist_gpu.engines.torch import tuning
    from mnist_gpu.engines.torch.device import choose

    return list(tuning.possible(choose(accelerator), world_size=1))


def parse(variant: str) -> tuple[str, dict[str, object]]:
    """The engine of a variant, and its options.

    Raises:
        UserError: there is no such engine.
    """
    first, *more = variant.split("+")
    engine, _, backend = first.partition(":")
    if engine not in engines.names():
        raise UserError(f"{engine}: no such engine; choose from {', '.join(engines.names())}")
    named = [switch.partition("=") for switch in more if switch != "open"]
    return engine, {
        "backend": backend or "tensorflow",
        "division": "open" if "open" in more else "stock",
        "switches": {name: int(number) if number else True for name, _, number in named},
    }


def honest(
    names: Sequence[str], models: Sequence[str], steps: int, seed: int, accelerator: str = "cpu"
) -> list[Row]:
    """Every variant beside the right reference, on those of the models that it trains.

    Raises:
        UserError: an engine that does not exist or trains none of them, or whose comparison
            stopped.
    """
    pairs = [(model, name) for model in models for name in names if trains(name, model)]
    if not pairs:
        raise UserError(f"{', '.join(names)}: trains none of {', '.join(models)}")
    return [_row(model, name, name, RIGHT, steps, seed, accelerator) for model, name in pairs]


def trains(variant: str, model: str) -> bool:
    """Whether a variant's engine trains a model: any, unless `models` in its file in `conf/engine/`
    names some.

    Raises:
        UserError: there is no such engine.
    """
    engine, _ = parse(variant)
    return model in shipped(f"engine/{engine}").get("models", [model])


def faulty(models: Sequence[str], steps: int, seed: int) -> list[Row]:
    """The plain loop beside references that are wrong in one way each."""
    return [
        _row(model, "torch", label, fault, steps, seed)
        for model in models
        for label, fault in FAULTS.items()
        if (model, label) not in NO_DIFFERENCE
    ]


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
    engine, chosen = parse(variant)
    options = EngineOptions(**chosen)  # type: ignore[arg-type]
    # a process of its own: a framework, its backend and its switches change the one they are in
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=_silence) as one:
        try:
            found = one.submit(differences, load, engine, options, faults, accelerator).result()
        except Exception as exc:  # whatever a framework ends with, or its process
            raise UserError(f"{variant}, {model}: {exc}") from exc
    return Row(model, label, found, expected_apart=faults != RIGHT)


def _silence() -> None:
    """Frameworks write to the process's own streams."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
