"""One variant in a process of its own: `python -m mnist_gpu.bench.worker JSON`.

Prints `ready`, then for every line it reads the seconds of one more repeat.
"""

import json
import sys
from collections.abc import Callable
from typing import Any


def prepare(task: dict[str, Any]) -> Callable[[], float]:
    """What `task` names: a variant on a model, or a switch on somebody's module."""
    if task.get("module"):
        from mnist_gpu.bench import foreign

        return foreign.make(task["module"], task["variant"], task["steps"])
    from mnist_gpu.bench import variants
    from mnist_gpu.bench.workload import slice_of

    load = slice_of(task["model"], task["steps"], task["precision"])
    return variants.make(task["variant"], load)


def main() -> None:
    """Serve repeats until the input ends."""
    once = prepare(json.loads(sys.argv[1]))
    once()
    print("ready", flush=True)
    for _ in sys.stdin:
        print(f"result {once()!r}", flush=True)


if __name__ == "__main__":
    main()
