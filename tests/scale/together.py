"""One of the processes of float64 runs of short epochs; the first prints their losses by model.

python -m torch.distributed.run --standalone --nproc-per-node 2 -m tests.scale.together mlp 100 ...
"""

import json
import os
import sys
from dataclasses import replace

import torch

from mnist_gpu import data, engines
from mnist_gpu.engines.base import EngineOptions
from mnist_gpu.measure.rank import here
from mnist_gpu.parity import compare
from mnist_gpu.timing.stopwatch import Stopwatch
from mnist_gpu.timing.timeline import Timeline


def losses(model: str, steps: int, devices: int) -> list[float]:
    """The global mean loss of each epoch of ten steps; the processes stay joined for the next."""
    dataset = data.load({"source": "mnist", "dir": os.environ["MNIST_GPU_DATA"]})
    load = replace(compare.make_workload(model, "float64", steps, dataset), devices=devices)
    engine = engines.find("lightning")(load, EngineOptions(), "cpu")
    engine.build()
    engine.warm_up()
    timeline = Timeline(Stopwatch(synchronise=engine.synchronise, phase="other"), load.epochs)
    engine.fit(timeline)
    return [row.train_loss for row in timeline.history]


if __name__ == "__main__":
    asked = zip(sys.argv[1::2], map(int, sys.argv[2::2]), strict=True)
    found = {model: losses(model, steps, here().world) for model, steps in asked}
    torch.distributed.destroy_process_group()
    if here().number == 0:
        print(json.dumps(found))
