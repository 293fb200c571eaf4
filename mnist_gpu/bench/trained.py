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
from mnist_gpu.engines.torch.program import Program
from mnist_gpu.protocol.workload import Workload


def main() -> None:
    """Train one epoch and write the weights to PATH (.npz), by their names in the network."""
    model, path = sys.argv[1:3]
    workload = full(model, epochs=1, seed=0)
    state = train(workload).state()
    weights: dict[str, Any] = {name: state[f"weights/{name}"] for name in workload.initial_weights}
    np.savez(Path(path), **weights)


def train(workload: Workload) -> Program:
    """The fast training pass after all epochs of `workload`, without evaluations."""
    program = make_program(workload, {}, torch.device("cpu"))
    for epoch in range(1, workload.epochs + 1):
        program.begin_epoch(epoch)
        for block in program.blocks(epoch):
            program.run_steps(block)
    return program


if __name__ == "__main__":
    main()
