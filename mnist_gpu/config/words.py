"""Keys that a user wrote: old names, and what took the place of deleted ones."""

import re
from typing import Any

from mnist_gpu.config.errors import no_such_choice
from mnist_gpu.errors import UserError
from mnist_gpu.paths import choices

RENAMED = {
    "checkpoint": "checkpoint_every",
    "profiler": "profile_steps",
    "force": "rerun",
    "platform.detect.front": "platform.detect.frontend",
}
STEPS = "is now engine.switches.steps_per_execution (engine=keras, tensorflow)"
DELETED = {
    "ensemble": "was deleted: a sweep trains several seeds, -m seed=0,1,2,3,4",
    "steps_per_execution": STEPS,
    "engine.steps_per_execution": STEPS,
    "engine.jit_compile": "is now engine.switches.jit_compile",
    "engine.tuning.keep_memory": "is now engine.switches.keep_memory (or division=tuned)",
    "engine.tuning.fused_adam": "is now engine.switches.fused_adam (or division=tuned)",
    "engine.tuning.cuda_graphs": "is now engine.switches.cuda_graphs (or division=tuned)",
    "engine.tuning": "was deleted; most were a kernel of this project: division=open takes those"
    " that fit the machine",
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
    return f"{match['sign']}{RENAMED.get(key, key)}{value}"


def modernise(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    """A configuration as plain values by the present names of keys, at every depth.

    Raises:
        UserError: a deleted key.
    """
    renamed: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{above}{key}"
        _refuse_deleted(path)
        name = RENAMED.get(path, path).rpartition(".")[2]
        renamed[name] = modernise(value, f"{path}.") if isinstance(value, dict) else value
    return renamed


def _refuse_deleted(key: str) -> None:
    """Say what took the place of a deleted key, or of anything beneath one."""
    for old, what in DELETED.items():
        if key == old or key.startswith(f"{old}."):
            raise UserError(f"{key} {what}")
