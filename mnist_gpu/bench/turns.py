"""Work in processes of its own, which take turns: only one works at a time."""

import os
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from typing import Any

from mnist_gpu.errors import UserError

# makes everything ready, and gives what works once; reaches its process by pickle
Task = Callable[[], Callable[[], Any]]
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
        refused: where a task that failed is told of, and left out; without, it is a UserError.
    """
    found: dict[str, list[Any]] = {}
    with ExitStack() as held:
        processes: dict[str, ProcessPoolExecutor] = {}
        for name, task in tasks.items():
            print(f"preparing {name}", file=sys.stderr, flush=True)
            # nothing of this process: each framework is loaded alone
            process = ProcessPoolExecutor(1, get_context("spawn"), _silence)
            processes[name] = held.enter_context(process)
            found[name] = []
            _keep(found, name, process.submit(_prepare, task), refused)
        # the outer loop: one repeat of each, then the next of each
        for _ in range(repeats):
            for name in list(found):
                _keep(found, name, processes[name].submit(_work), refused)
    return found


def _keep(
    found: dict[str, list[Any]], name: str, future: "Future[Any]", refused: list[str] | None
) -> None:
    """Add what came out; where the task failed it has no place among what is found."""
    try:
        found[name] += future.result()
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


def _prepare(task: Task) -> list[Any]:
    _ready.append(task())
    return []


def _work() -> list[Any]:
    return [_ready[0]()]
