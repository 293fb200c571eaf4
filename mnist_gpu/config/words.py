"""Keys that a user wrote: old names, and what took the place of deleted ones (`keys.yaml`)."""

import re
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from mnist_gpu.config.errors import no_such_choice
from mnist_gpu.errors import UserError
from mnist_gpu.paths import choices

KEY = re.compile(r"^(?P<sign>[+~]*)(?P<key>[\w./]+)(?P<value>=.*)?$", re.S)
SEVERAL = ("callbacks", "experiment")


@cache
def _keys() -> dict[str, dict[str, str]]:
    text = (files("mnist_gpu.config") / "keys.yaml").read_text(encoding="utf-8")
    found: dict[str, dict[str, str]] = yaml.safe_load(text)
    return found


def present(override: str) -> str:
    """An override of the command line by the present names of keys.

    Raises:
        UserError: the key was deleted, or a group is given none or several choices.
    """
    match = KEY.match(override)
    if match is None:
        return override
    key, value = match["key"], match["value"]
    _refuse_deleted(key)
    if value is None:
        return override
    known = choices(key) if not match["sign"] and key not in SEVERAL else []
    if known and value in ("=", "=null"):
        raise UserError(no_such_choice(key, value[1:], known))
    if known and value.startswith("=["):
        raise UserError(f"{override}: one at a time; choose from {', '.join(known)}")
    return f"{match['sign']}{_keys()['renamed'].get(key, key)}{value}"


def modernise(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    """A configuration as plain values by the present names of keys, at every depth.

    Raises:
        UserError: a deleted key.
    """
    renamed: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{above}{key}"
        _refuse_deleted(path)
        name = _keys()["renamed"].get(path, path).rpartition(".")[2]
        renamed[name] = modernise(value, f"{path}.") if isinstance(value, dict) else value
    return renamed


def _refuse_deleted(key: str) -> None:
    """Say what took the place of a deleted key, or of anything beneath one."""
    for old, what in _keys()["deleted"].items():
        if key == old or key.startswith(f"{old}."):
            raise UserError(f"{key} {what}")
