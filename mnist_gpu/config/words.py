"""Keys that a user wrote: old names, deleted ones, and what a misspelt one was meant to be."""

import difflib
import re
import shlex
from collections.abc import Iterable
from typing import Any

from mnist_gpu.errors import UserError
from mnist_gpu.paths import choices, shipped

RENAMED = {
    "checkpoint": "checkpoint_every",
    "profiler": "profile_steps",
    "force": "rerun",
    "platform.detect.front": "platform.detect.frontend",
}
KERNELS = "a kernel of this project: division=open takes those that fit the machine"
DELETED = {
    "ensemble": "was deleted: a sweep trains several seeds, -m seed=0,1,2,3,4",
    "steps_per_execution": "is now engine.switches.steps_per_execution (engine=keras, tensorflow)",
    "engine.steps_per_execution": "is now engine.switches.steps_per_execution"
    " (engine=keras, tensorflow)",
    "engine.jit_compile": "is now engine.switches.jit_compile",
    "engine.tuning.keep_memory": "is now engine.switches.keep_memory (or division=tuned)",
    "engine.tuning.fused_adam": "is now engine.switches.fused_adam (or division=tuned)",
    "engine.tuning.cuda_graphs": "is now engine.switches.cuda_graphs (or division=tuned)",
    "engine.tuning": f"was deleted; most were {KERNELS}",
    # arguments of Lightning's Trainer that this configuration sets elsewhere
    "trainer.precision": "is set at the top: precision=",
    "trainer.devices": "is set at the top: devices=",
    "trainer.num_nodes": "is set at the top: num_nodes=",
    "trainer.max_epochs": "is set at the top: epochs=",
    "trainer.max_steps": "is set by epochs= at the top",
    "trainer.accelerator": "is set by the platform: platform= or platform.accelerator=",
    "trainer.callbacks": "is set at the top: callbacks=",
}
KEY = re.compile(r"^(?P<sign>[+~]*)(?P<key>[\w./]+)(?P<value>=.*)?$", re.S)
SEVERAL = ("callbacks", "experiment")


def near(word: str, known: Iterable[str]) -> str:
    """` (did you mean ...?)`, or nothing where no known word is like it."""
    known = list(known)
    begun = [one for one in known if len(word) > 2 and one.startswith(word)]
    found = begun or difflib.get_close_matches(word, known, n=1)
    return f" (did you mean {found[0]}?)" if found else ""


def no_such_key(path: str, siblings: Iterable[str]) -> str:
    """That there is no key `path`, what was probably meant, and what there is beside it."""
    known = sorted(set(siblings) - {"hydra", "experiment"})
    last = path.rpartition(".")[2]
    return f"{path}: no such key{near(last, known)}; allowed are {', '.join(known) or 'none'}"


def no_such_switch(name: str, engine: str) -> str:
    """The same for a switch of an engine."""
    known = sorted(shipped(f"engine/{engine}")["switches"])
    return (
        f"engine.switches.{name}: engine={engine} has no such switch{near(name, known)};"
        f" it has {', '.join(known) or 'none'}"
    )


def no_such_choice(group: str, choice: str, known: Iterable[str]) -> str:
    """That a group has no such choice, what was probably meant, and the choices."""
    known = sorted(known)
    return f"{group}={choice}: choose from {', '.join(known)}{near(choice, known)}"


def present(override: str) -> str:
    """An override of the command line by the present names of keys.

    Raises:
        UserError: the key was deleted, or a group is given none or several choices.
    """
    match = KEY.match(override)
    if match is None:
        return override
    key, value = match["key"], match["value"]
    refuse_deleted(key)
    if value is None:
        return override
    known = choices(key) if not match["sign"] and key not in SEVERAL else []
    if known and value in ("=", "=null"):
        raise UserError(no_such_choice(key, value[1:], known))
    if known and value.startswith("=["):
        raise UserError(f"{override}: one at a time; choose from {', '.join(known)}")
    return f"{match['sign']}{RENAMED.get(key, key)}{value}"


def refuse_deleted(key: str) -> None:
    """Say what took the place of a deleted key, or of anything beneath one.

    Raises:
        UserError: `key` was deleted.
    """
    for old, what in DELETED.items():
        if key == old or key.startswith(f"{old}."):
            raise UserError(f"{key} {what}")


def modernise(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    """A configuration as plain values by the present names of keys, at every depth.

    Raises:
        UserError: a deleted key.
    """
    renamed: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{above}{key}"
        refuse_deleted(path)
        name = RENAMED.get(path, path).rpartition(".")[2]
        renamed[name] = modernise(value, f"{path}.") if isinstance(value, dict) else value
    return renamed


def how_to_quote(override: str) -> str:
    """How to write an override whose value Hydra's grammar cannot read."""
    key, equals, value = override.partition("=")
    if not equals:
        return f"{override}: a key and its value, such as {key}=VALUE"
    quoted = value.strip("'\"").replace('"', '\\"')
    right = shlex.quote(f'{key}="{quoted}"')
    return f"{override}: quote the value, once for Hydra and once for the shell: {right}"


def several_values(override: str) -> str:
    """That several values make a sweep."""
    return f"{override}: several values are a sweep: add -m (a list is [a,b], text 'a,b' in quotes)"
