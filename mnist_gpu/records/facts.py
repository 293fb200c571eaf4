"""Facts that age, and rules for people to read: the YAML files in `records/data/`."""

from functools import cache
from importlib.resources import files
from types import SimpleNamespace
from typing import Any


@cache
def facts(name: str) -> Any:
    """The content of `records/data/<name>.yaml`."""
    import yaml

    text = (files("mnist_gpu.records") / "data" / f"{name}.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


@cache
def limits() -> SimpleNamespace:
    """The numbers of the rules, `records/data/limits.yaml`, as attributes."""
    return SimpleNamespace(**facts("limits"))
