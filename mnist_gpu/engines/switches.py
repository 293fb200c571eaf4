"""Which documented public switches an engine has, and which of them a run has on.

Tuned is stock plus such switches. Which of them help is measured (`scripts/bench --switches`) and
kept, with date and source, in `switches.yaml`, by engine and kind of device.
"""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from mnist_gpu.engines.base import EngineOptions
from mnist_gpu.errors import UserError

Value = bool | int | str
KINDS = {bool: "true or false", int: "a whole number from 1"}


def switched_on(
    options: EngineOptions,
    engine: str,
    device: str,
    possible: Mapping[str, type],
    stock: Mapping[str, Value] | None = None,
) -> dict[str, Value]:
    """The switches of a run with their values; one at the stock value is no switch.

    Args:
        options: of the run.
        engine: name of the engine.
        device: kind of device, such as `cuda`.
        possible: the switches that the engine has on this device, and whether each takes a `bool`
            or an `int`.
        stock: the value that a switch has in stock; False where it is not named.

    Raises:
        UserError: a switch that is not among the possible ones, or a value of another type; or
            `division=tuned` where no switch is known to help.
    """
    there = ", ".join(possible) or "none"
    asked = {name: value for name, value in options.switches.items() if value is not None}
    for name, value in asked.items():
        if name not in possible:
            raise UserError(
                f"engine.switches.{name}={value}: engine={engine} has no such switch on {device};"
                f" there are {there}"
            )
        # not `isinstance`: a bool is an int for Python, and not for a person
        kind = possible[name]
        if type(value) is not kind or (kind is int and value < 1):
            raise UserError(f"engine.switches.{name}={value}: {KINDS[kind]}")
    helps = _helpful(engine, device) if options.division in ("tuned", "open") else {}
    chosen = {name: value for name, value in helps.items() if name in possible} | asked
    on = {k: v for k, v in chosen.items() if v != (stock or {}).get(k, False)}
    if options.division == "tuned" and not on:
        raise UserError(
            f"division=tuned: no switch is known to make engine={engine} faster on {device};"
            f" use division=stock, or choose among {there} with engine.switches.<name>"
        )
    return on


def _helpful(engine: str, device: str) -> Mapping[str, Any]:
    """The switches that helped on such devices when it was measured."""
    import yaml

    table = yaml.safe_load((files("mnist_gpu.engines") / "switches.yaml").read_text("utf-8"))
    return table["helpful"].get(engine, {}).get(device) or {}
