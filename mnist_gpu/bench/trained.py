"""`python -m mnist_gpu.bench.trained MODEL PATH`: the weights that all ways begin with.

How long a step takes depends on the weights where zeros are skipped: there are twice as many after
an epoch as at the start. A run of 50 epochs spends its time after the first.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mnist_gpu.bench.workload import full
from mnist_gpu.engines.torch import make_program


def main() -> None:
    """Train one epoch and write the weights to PATH (.npz), by their names in the network."""
    model, path = sys.argv[1:3]
    workload = full(model, epochs=1, seed=0)
    program = make_program(workload, {}, torch.device("cpu"))
    program.begin_epoch(1)
    for block in program.blocks(1):
        program.run_steps(block)
    state = program.state()
    weights: dict[str, Any] = {name: state[f"weights/{name}"] for name in workload.initial_weights}
    np.savez(Path(path), **weights)


if __name__ == "__main__":
    main()
