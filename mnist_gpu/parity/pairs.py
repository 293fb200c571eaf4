"""Every engine with its reference, each pair in a process of its own."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from mnist_gpu import engines
from mnist_gpu.errors import UserError

FRAMEWORKS = {
    "lightning": "lightning",
    "torch": "torch",
    "tensorflow": "tensorflow",
    "keras": "keras",
    "mlx": "mlx",
}
FAULTS: dict[str, dict[str, object]] = {
    "Adam's epsilon 1e-7": {"epsilon": 1e-7},
    "epsilon before the bias correction": {"epsilon_hat": True},
    "no bias correction": {"bias_correction": False},
    "Glorot's initial weights": {"glorot": True},
    "flatten in channels-last order": {"channels_last_flatten": True},
    "the smaller batch dropped": {"drop_last": True},
}
FIGURES = ("loss", "weights", "moments")
# on a CPU; a compiled step takes a minute to compile
SWITCHES: dict[str, tuple[str, ...]] = {
    "lightning": ("fused_adam", "channels_last", "compile", "resident_data", "keep_memory"),
    "torch": ("fused_adam", "channels_last", "compile", "resident_data", "keep_memory"),
    "keras": ("steps_per_execution=5", "jit_compile", "resident_data"),
    "tensorflow": ("steps_per_execution=5", "jit_compile", "resident_data"),
}
# a network without convolutions has but one order to flatten in
NO_DIFFERENCE = {("mlp", "flatten in channels-last order")}


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        model: the network.
        name: the engine, or the fault put into the reference.
        steps: compared.
        loss: largest relative difference after any epoch; likewise weights and Adam's moments.
        bound: what none of them may exceed.
        apart_from: first step beyond the bound, None if there is none.
        expected_apart: whether they should differ.
    """

    model: str
    name: str
    steps: int
    loss: float
    weights: float
    moments: float
    bound: float
    apart_from: int | None
    expected_apart: bool = False

    @property
    def as_it_should_be(self) -> bool:
        """Together where they should be, apart where a fault was put in."""
        return (self.apart_from is not None) == self.expected_apart


def installed() -> list[str]:
    """The engines whose framework is there."""
    found = [n for n in engines.names() if importlib.util.find_spec(FRAMEWORKS.get(n, n))]
    return [name for name in found if name in FRAMEWORKS]


def variants(names: Sequence[str]) -> list[str]:
    """Every engine stock, with each switch alone, with all of them, and open where it has that.

    A variant is written `engine[:backend][+switch[=number]…]`, `torch+open` for the open division.
    """
    found = []
    for name in names:
        switches = SWITCHES.get(name, ())
        alone = [f"{name}+{switch}" for switch in switches]
        found += [name, *alone, *(["+".join([name, *switches])] if len(alone) > 1 else [])]
        found += [f"{name}+open"] if name in ("lightning", "torch") else []
    return found


def parse(variant: str) -> tuple[str, dict[str, object]]:
    """The engine of a variant, and its options.

    Raises:
        UserError: there is no such engine.
    """
    first, *more = variant.split("+")
    engine, _, backend = first.partition(":")
    if engine not in engines.names():
        raise UserError(f"{engine}: no such engine; choose from {', '.join(engines.names())}")
    options: dict[str, object] = {"backend": backend or "tensorflow"}
    switches: dict[str, object] = {}
    for switch in more:
        name, _, number = switch.partition("=")
        if name == "open":
            options["division"] = "open"
        else:
            switches[name] = int(number) if number else True
    return engine, options | {"switches": switches}


def honest(names: Sequence[str], models: Sequence[str], steps: int, seed: int) -> list[Row]:
    """Every variant beside the right reference.

    Raises:
        UserError: an engine that does not exist, or whose comparison stopped.
    """
    for name in names:
        parse(name)
    return [_pair(model, name, name, {}, steps, seed) for model in models for name in names]


def faulty(models: Sequence[str], steps: int, seed: int) -> list[Row]:
    """The plain loop beside references that are wrong in one way each."""
    return [
        _pair(model, "torch", label, fault, steps, seed)
        for model in models
        for label, fault in FAULTS.items()
        if (model, label) not in NO_DIFFERENCE
    ]


def _pair(
    model: str, engine: str, label: str, fault: dict[str, object], steps: int, seed: int
) -> Row:
    name, options = parse(engine)
    task = {
        "model": model,
        "engine": name,
        "options": options,
        "steps": steps,
        "seed": seed,
        "faults": fault,
    }
    done = subprocess.run(
        [sys.executable, "-m", "mnist_gpu.parity.worker", json.dumps(task)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["nothing said"]
        raise UserError(f"{engine}, {model}: {said[-1]}")
    found = json.loads(done.stdout.splitlines()[-1])
    bound = found["bound"]
    rows = found["rows"]
    worst = {
        key: max(float(row[key]) if row[key] is not None else float("inf") for row in rows)
        for key in FIGURES
    }
    beyond = (row["step"] for row in rows if not _within(row, bound))
    return Row(
        model,
        label,
        int(rows[-1]["step"]),
        bound=bound,
        apart_from=next(beyond, None),
        expected_apart=bool(fault),
        **worst,
    )


def _within(row: dict[str, float], bound: float) -> bool:
    return all(row[key] is not None and row[key] <= bound for key in FIGURES)
