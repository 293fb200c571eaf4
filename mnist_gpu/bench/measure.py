"""Runs the ways interleaved, each in its own process, one at a time."""

import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from mnist_gpu.bench.ways import ABLATIONS, NEEDS, WAYS
from mnist_gpu.errors import UserError

CNN_STEPS, MLP_STEPS = 60, 938
FOR_LARGE_LAYERS = (
    "relu_after_pool",
    "first_convolution",
    "pooled_convolution",
    "sparse_linear",
)
# in both precisions
NARROW = ("program", "without-sparse_linear")


@dataclass
class Row:
    """One way's repeats.

    Attributes:
        way: a key of `ways.WAYS`, or `peak`.
        values: seconds per optimizer step of each repeat (`peak`: operations per second).
    """

    model: str
    precision: str
    way: str
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The figure to quote."""
        return median(self.values)


class Worker:
    """A process that repeats one way on request, from the weights that it is given."""

    def __init__(self, row: Row, steps: int, weights: Path) -> None:
        self.row = row
        self.steps = steps
        command = [sys.executable, "-m", "mnist_gpu.bench.worker", row.way, row.model]
        self.process = subprocess.Popen(
            [*command, row.precision, str(steps), str(weights)],
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
        value = float(self._answer("result").split()[1])
        self.row.values.append(value if self.row.way == "peak" else value / self.steps)

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
        fault = self.process.stderr.read().strip().splitlines()[-1:]
        raise UserError(f"bench: {self.row.way} stopped: {''.join(fault)}")


def installed(way: str) -> bool:
    """Whether the framework that a way needs is there; MLX is for Macs, and slow elsewhere."""
    if way == "mlx" and sys.platform != "darwin":
        return False
    return way not in NEEDS or importlib.util.find_spec(NEEDS[way]) is not None


def interleave(model: str, ways: Sequence[tuple[str, str]], steps: int, repeats: int) -> list[Row]:
    """Measure every way `repeats` times, in turn: A B C A B C …

    A machine's speed drifts; what is compared is measured side by side. Only one process works at a
    time; the others wait for their turn without using the processor.

    Args:
        model: what is trained.
        ways: keys of `ways.WAYS`, or `peak`, each with a precision.
        steps: optimizer steps of one repeat.
        repeats: of each way.
    """
    with ExitStack() as held:
        weights = Path(held.enter_context(TemporaryDirectory())) / "weights.npz"
        _train(model, weights)
        workers: list[Worker] = []
        for way, precision in ways:
            workers.append(Worker(Row(model, precision, way), steps, weights))
            held.callback(workers[-1].close)
        for _ in range(repeats):
            for worker in workers:
                worker.repeat()
    return [worker.row for worker in workers]


def _train(model: str, weights: Path) -> None:
    command = [sys.executable, "-m", "mnist_gpu.bench.trained", model, str(weights)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        fault = done.stderr.strip().splitlines()[-1:]
        raise UserError(f"bench: one epoch of {model} could not be trained: {''.join(fault)}")


def default_ways(model: str, ablate: bool) -> list[str]:
    """All that this machine can do in reasonable time, or the fast pass without each measure that
    this model has a use for."""
    if ablate:
        left_out = {f"without-{measure}" for measure in FOR_LARGE_LAYERS if model == "mlp"}
        return ["program", *(way for way in ABLATIONS if way not in left_out)]
    left_out = {*ABLATIONS} if model == "mlp" else {*ABLATIONS, "ensemble"}
    return [way for way in WAYS if way not in left_out and installed(way)]


def speed(model: str, ways: list[str], repeats: int, quick: bool) -> list[Row]:
    """Measure ways in float32, the fast pass also in bfloat16, and the peaks.

    Raises:
        UserError: an unknown way or model.
    """
    unknown = [way for way in ways if way not in WAYS]
    if unknown or model not in ("cnn", "mlp"):
        raise UserError(f"unknown {(unknown or [model])[0]!r}: see --help")
    steps = CNN_STEPS if model == "cnn" else MLP_STEPS
    if quick:
        steps //= 2
    print(f"measuring {model}: {', '.join(ways)}; {repeats} repeats", file=sys.stderr, flush=True)
    pairs = [(way, "float32") for way in [*ways, "peak"]]
    narrow = [way for way in ways if way in NARROW]
    if model == "cnn" and narrow:
        pairs += [(way, "bf16-mixed") for way in [*narrow, "peak"]]
    return interleave(model, pairs, steps, repeats)
