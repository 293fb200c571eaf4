"""Work in processes of its own, which take turns: only one works at a time."""

import os
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from typing import Any

from mnist_gpu.errors import UserError
from mnist_gpu.measure import cpus

# makes everything ready, and gives what works once; reaches its process by pickle
Task = Callable[[], Callable[[], Any]]
CPUS_TO_PREPARE = 2
_ready: list[Callable[[], Any]] = []


def interleave(
    tasks: Mapping[str, Task], repeats: int, refused: list[str] | None = None
) -> dict[str, list[Any]]:
    """Do every task `repeats` times, in turn: A B C A B C …; what came out, by the task's name.

    A machine's speed drifts; what is compared is measured side by side. Who waits for a turn does
    not use the processor.

    Args:
        tasks: what to do, each in a new process.
        repeats: of each.
        refused: where a task that failed is told of, and left out; without, it is an error.

    Raises:
        UserError: a task that failed, where `refused` is not given.
    """
    found: dict[str, list[Any]] = {}
    with ExitStack() as held:
        processes: dict[str, ProcessPoolExecutor] = {}
        at_once = max(1, cpus.threads() // CPUS_TO_PREPARE)
        for first in range(0, len(tasks), at_once):
            coming: dict[str, Future[None]] = {}
            for name in list(tasks)[first : first + at_once]:
                print(f"preparing {name}", file=sys.stderr, flush=True)
                # nothing of this process: each framework is loaded alone
                processes[name] = ProcessPoolExecutor(1, get_context("spawn"), _silence)
                held.enter_context(processes[name])
                coming[name] = processes[name].submit(_prepare, tasks[name])
            for name, future in coming.items():
                found[name] = []
                _keep(found, name, future, refused)
        found = {name: [] for name in found}
        for _ in range(repeats):
            for name in list(found):
                _keep(found, name, processes[name].submit(_work), refused)
    return found


def _keep(
    found: dict[str, list[Any]], name: str, future: "Future[Any]", refused: list[str] | None
) -> None:
    """Add what came out; where the task failed it has no place among what is found."""
    try:
        found[name].append(future.result())
    except Exception as exc:
        if refused is None:
            raise UserError(f"bench: {name}: {exc}") from None
        refused.append(f"{name}: {exc}")
        del found[name]


def _silence() -> None:
    """What a framework prints goes nowhere: the outcome comes back, and so does an exception."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)


def _prepare(task: Task) -> None:
    _ready.append(task())


def _work() -> Any:
    return _ready[0]()
