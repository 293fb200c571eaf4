"""Where the time of a stock step goes: loader, forward, backward, optimizer, and the Trainer.

The parts are timed within PyTorch's plain loop; what the Trainer adds is the difference between the
module in a Trainer and that loop, both measured side by side.
"""

import time
from statistics import median
from typing import Any

from mnist_gpu.bench.alone import ALONE
from mnist_gpu.bench.workload import BATCH, slice_of
from mnist_gpu.protocol.workload import Workload

PARTS = ("loader", "forward and loss", "backward", "optimizer")


def parts_of_a_step(load: Workload) -> dict[str, float]:
    """Milliseconds of each part, medians over the steps of one epoch after a first."""
    import torch
    import torch.nn.functional as F

    from mnist_gpu.engines.torch.data import EpochOrder, tensors, train_loader
    from mnist_gpu.engines.torch.network import build_network

    network = build_network(load.network).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=load.learning_rate)
    images = tensors(load.dataset.train_images, load.dataset.train_labels)
    loader = train_loader(EpochOrder(images, BATCH, load.seed))
    found: dict[str, list[float]] = {part: [] for part in PARTS}
    for epoch in range(2):
        batches: Any = iter(loader)
        for _ in range(len(loader)):
            marks = [time.perf_counter()]
            batch, labels = next(batches)
            marks.append(time.perf_counter())
            optimizer.zero_grad()
            loss = F.cross_entropy(network(batch), labels)
            marks.append(time.perf_counter())
            loss.backward()
            marks.append(time.perf_counter())
            optimizer.step()
            marks.append(time.perf_counter())
            if epoch:
                for part, began, ended in zip(PARTS, marks, marks[1:], strict=False):
                    found[part].append((ended - began) * 1e3)
    return {part: median(values) for part, values in found.items()}


def measure(model: str, steps: int, repeats: int) -> dict[str, float]:
    """Milliseconds of each part and of the Trainer, one model."""
    load = slice_of(model, steps)
    plain, trainer = ALONE["torch"](load), ALONE["lightning"](load)
    plain(), trainer()
    sides = [(plain() / steps * 1e3, trainer() / steps * 1e3) for _ in range(repeats)]
    parts = parts_of_a_step(load)
    whole = median(side[0] for side in sides)
    with_trainer = median(side[1] for side in sides)
    parts["the Trainer, logging included"] = with_trainer - whole
    return parts | {"the whole step in the Trainer": with_trainer}


def markdown(steps: dict[str, int], repeats: int) -> str:
    """A column a model."""
    columns = {model: measure(model, count, repeats) for model, count in steps.items()}
    first = next(iter(columns.values()))
    lines = [f"| ms a step | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    for part in first:
        cells = " | ".join(f"{column[part]:.2f}" for column in columns.values())
        lines.append(f"| {part} | {cells} |")
    return "\n".join(lines)
