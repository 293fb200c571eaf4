"""Which documented public switches an engine has, and which of them a run has on.

Tuned is stock plus such switches. Which of them help is measured (`scripts/bench --switches`) and
kept, with date and source, in `switches.yaml`, by engine and kind of device.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from mnist_gpu.engines.base import EngineOptions
from mnist_gpu.errors import UserError

Value = bool | int | str


def switched_on(
    options: EngineOptions,
    engine: str,
    device: str,
    possible: Mapping[str, tuple[type, ...]],
    stock: Mapping[str, Value] | None = None,
) -> dict[str, Value]:
    """The switches of a run with their values; one at the stock value is no switch.

    Args:
        options: of the run.
        engine: name of the engine.
        device: kind of device, such as `cuda`.
        possible: the switches that the engine has on this device, each with the types of its value.
        stock: the value that a switch has in stock; False where it is not named.

    Raises:
        UserError: a switch that is not among the possible ones, or a value of another type; or
            `division=tuned` where no switch is known to help.
    """
    chosen: dict[str, Any] = {}
    if options.division in ("tuned", "open"):
        chosen |= {k: v for k, v in helpful(engine, device).items() if k in possible}
    asked = {name: value for name, value in options.switches.items() if value is not None}
    for name, value in asked.items():
        _check(engine, device, name, value, possible)
    chosen |= asked
    stock = stock or {}
    on = {name: value for name, value in chosen.items() if value != stock.get(name, False)}
    if options.division == "tuned" and not on:
        raise UserError(
            f"division=tuned: no switch is known to make engine={engine} faster on {device};"
            f" use division=stock, or choose among {_names(possible)} with engine.switches.<name>"
        )
    return on


def helpful(engine: str, device: str) -> dict[str, Value]:
    """The switches that helped on such devices when it was measured."""
    table: dict[str, Value] = _table()["helpful"].get(engine, {}).get(device) or {}
    return dict(table)


def _check(
    engine: str, device: str, name: str, value: Any, possible: Mapping[str, tuple[type, ...]]
) -> None:
    if name not in possible:
        raise UserError(
            f"engine.switches.{name}={value}: engine={engine} has no such switch on {device};"
            f" there are {_names(possible)}"
        )
    types = possible[name]
    # a bool is an int for Python, and not for a person
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        wanted = " or ".join(
            {bool: "true or false", int: "a whole number", str: "a word"}[t] for t in types
        )
        raise UserError(f"engine.switches.{name}={value}: {wanted}")


def _names(possible: Mapping[str, Any]) -> str:
    return ", ".join(possible) or "none"


@cache
def _table() -> Any:
    import yaml

    return yaml.safe_load(
        (files("mnist_gpu.engines") / "switches.yaml").read_text(encoding="utf-8")
    )
