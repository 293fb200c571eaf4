"""`python -m mnist_gpu.bench.paired ENGINE MODEL PAIRS`: what this project's loop, clock and
observers cost an engine, beside the same framework's code alone, in one process.

Blocks of steps of both take turns, the first of a pair by lot: the machine's drift and the order
go into both alike. A block holds what an epoch has once (its order, its data set made ready), so
those of a small network are longer. Prints one line of JSON.
"""

import json
import sys
from dataclasses import asdict, dataclass

import numpy as np

from mnist_gpu.bench.statistics import Ratio, paired_ratio
from mnist_gpu.bench.variants import make
from mnist_gpu.bench.workload import slice_of

BLOCK_STEPS = {"cnn": 20, "mlp": 200}
WARM_UP_PAIRS = 3


@dataclass(frozen=True)
class Pairs:
    """Seconds of each block: through the engine, and the framework alone."""

    engine: str
    model: str
    through: list[float]
    alone: list[float]

    @property
    def ratio(self) -> Ratio:
        """Through the engine over alone."""
        return paired_ratio(self.through, self.alone)


def measure(engine: str, model: str, pairs: int) -> Pairs:
    """Train `pairs` blocks each way."""
    load = slice_of(model, BLOCK_STEPS[model])
    ways = [make(engine, load), make(f"alone:{engine}", load)]
    found: list[list[float]] = [[], []]
    first = np.random.default_rng(0).integers(2, size=WARM_UP_PAIRS + pairs)
    for number, one in enumerate(first):
        for way in (one, 1 - one):
            seconds = ways[way]()
            if number >= WARM_UP_PAIRS:
                found[way].append(seconds)
    return Pairs(engine, model, *found)


def row(pairs: Pairs) -> str:
    """A line of a table."""
    steps = BLOCK_STEPS[pairs.model]
    ms = [float(np.median(side)) / steps * 1e3 for side in (pairs.through, pairs.alone)]
    return (
        f"| {pairs.model} | {pairs.engine} | {ms[0]:.2f} | {ms[1]:.2f} | {pairs.ratio} |"
        f" {len(pairs.alone)} of {steps} steps |"
    )


HEADING = (
    "| model | engine | ms a step | alone | ratio (95 % interval) | pairs of blocks |\n"
    "|---|---|---|---|---|---|"
)

if __name__ == "__main__":
    print(json.dumps(asdict(measure(sys.argv[1], sys.argv[2], int(sys.argv[3])))))
