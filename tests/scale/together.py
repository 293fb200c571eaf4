"""One of the processes of a float64 run of short epochs; the first prints their losses.

python -m torch.distributed.run --standalone --nproc-per-node 2 -m tests.scale.together mlp 100
"""

import json
import os
import sys
from dataclasses import replace

from mnist_gpu import data, engines
from mnist_gpu.engines.base import EngineOptions
from mnist_gpu.measure.rank import here
from mnist_gpu.parity import compare
from mnist_gpu.timing.stopwatch import Stopwatch
from mnist_gpu.timing.timeline import Timeline


def losses(model: str, steps: int, devices: int) -> list[float]:
    """The global mean loss of each epoch of ten steps."""
    dataset = data.load({"source": "mnist", "dir": os.environ["MNIST_GPU_DATA"]})
    load = replace(compare.make_workload(model, "float64", steps, dataset), devices=devices)
    engine = engines.find("lightning")(load, EngineOptions(), "cpu")
    try:
        engine.build()
        engine.warm_up()
        timeline = Timeline(Stopwatch(synchronise=engine.synchronise, phase="other"), load.epochs)
        engine.fit(timeline)
        return [row.train_loss for row in timeline.history]
    finally:
        engine.close()


if __name__ == "__main__":
    found = losses(sys.argv[1], int(sys.argv[2]), here().world)
    if here().number == 0:
        print(json.dumps(found))
