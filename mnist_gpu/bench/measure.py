"""Runs variants interleaved, each in its own process, one at a time."""

import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from mnist_gpu.errors import UserError

STEPS = {"cnn": 30, "mlp": 400, "lenet5": 200}


@dataclass
class Row:
    """One variant's repeats: seconds per optimizer step of each."""

    model: str
    variant: str
    precision: str = "float32"
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The figure to quote, in seconds."""
        return median(self.values)


class Worker:
    """A process that repeats one variant on request."""

    def __init__(self, row: Row, steps: int, module: str | None) -> None:
        self.row = row
        self.steps = steps
        task: dict[str, Any] = {
            "variant": row.variant,
            "model": row.model,
            "precision": row.precision,
            "steps": steps,
            "module": module,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mnist_gpu.bench.worker", json.dumps(task)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._answer("ready")

    def repeat(self) -> None:
        """Measure once more."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        self.row.values.append(float(self._answer("result").split()[1]) / self.steps)

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()

    def _answer(self, start: str) -> str:
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        for line in self.process.stdout:
            if line.startswith(start):
                return line
        said = self.process.stderr.read().strip().splitlines()[-1:]
        raise UserError(f"bench: {self.row.variant} stopped: {''.join(said)}")


def interleave(
    rows: Sequence[Row], repeats: int, steps: int | None = None, module: str | None = None
) -> list[Row]:
    """Measure every row `repeats` times, in turn: A B C A B C …

    A machine's speed drifts; what is compared is measured side by side. Only one process works at a
    time; the others wait for their turn without using the processor.

    Args:
        rows: what to measure.
        repeats: of each.
        steps: optimizer steps of one repeat; by the model where none are given.
        module: somebody's own, as `path.py:MyModule`, instead of the project's models.

    Raises:
        UserError: a variant that does not exist or stops.
    """
    with ExitStack() as held:
        workers: list[Worker] = []
        for row in rows:
            print(f"preparing {row.model} {row.variant}", file=sys.stderr, flush=True)
            workers.append(Worker(row, steps or STEPS[row.model], module))
            held.callback(workers[-1].close)
        for _ in range(repeats):
            for worker in workers:
                worker.repeat()
    return [worker.row for worker in workers]
