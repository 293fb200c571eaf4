"""Facts that age, and rules for people to read: the YAML files in `records/data/`."""

from functools import cache
from types import SimpleNamespace
from typing import Any

from mnist_gpu.paths import PACKAGE, table


@cache
def facts(name: str) -> Any:
    """The content of `records/data/<name>.yaml`."""
    return table(PACKAGE / "records" / "data" / f"{name}.yaml")


@cache
def limits() -> SimpleNamespace:
    """The numbers of the rules, `records/data/limits.yaml`, as attributes."""
    return SimpleNamespace(**facts("limits"))
