"""Whether the fast training pass ends as accurate as the plain eager loop, over seeds."""

import sys
from math import sqrt
from statistics import mean, stdev, variance

import torch
import torch.nn.functional as F

from mnist_gpu.bench.plain import plain_network
from mnist_gpu.bench.workload import full
from mnist_gpu.engines.base import Workload
from mnist_gpu.engines.torch import make_program
from mnist_gpu.measure import cpus

SEEDS = (0, 1, 2)


def markdown(model: str, epochs: int) -> str:
    """One row a way: each seed's test accuracy, their mean and standard deviation."""
    plain, fast = [], []
    for seed in SEEDS:
        print(f"training {model} for {epochs} epochs, seed {seed}", file=sys.stderr, flush=True)
        workload = full(model, epochs, seed)
        plain.append(100 * eager(workload))
        fast.append(100 * program(workload))
    error = sqrt((variance(plain) + variance(fast)) / len(SEEDS))
    seeds = " | ".join(f"seed {seed}" for seed in SEEDS)
    lines = [
        f"Test accuracy in percent after {epochs} epochs of `{model}`; each way draws its own"
        " initial weights, orders and dropout.",
        "",
        f"| way | {seeds} | mean | standard deviation |",
        "|---" * (len(SEEDS) + 3) + "|",
        _row("plain eager loop", plain),
        _row("the fast training pass", fast),
        "",
        f"The means differ by {mean(fast) - mean(plain):+.3f} points; the standard error of that"
        f" difference is {error:.3f}.",
    ]
    return "\n".join(lines)


def eager(workload: Workload) -> float:
    """The test accuracy (0 to 1) of the plain loop that `ways.eager` times."""
    torch.set_num_threads(cpus.threads())
    torch.manual_seed(workload.seed)
    network = plain_network(workload.network)
    optimizer = torch.optim.Adam(network.parameters(), lr=workload.learning_rate)
    part = workload.dataset
    images, test_images = (
        (torch.tensor(array).unsqueeze(1).float() / 255 - 0.1307) / 0.3081
        for array in (part.train_images, part.test_images)
    )
    labels, test_labels = (
        torch.tensor(array).long() for array in (part.train_labels, part.test_labels)
    )
    for _ in range(workload.epochs):
        for batch in torch.randperm(len(labels)).split(workload.batch_size):
            optimizer.zero_grad()
            F.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
    network.eval()
    with torch.inference_mode():
        answers = torch.cat([network(some).argmax(1) for some in test_images.split(500)])
    return (answers == test_labels).double().mean().item()


def program(workload: Workload) -> float:
    """The test accuracy (0 to 1) of the fast training pass."""
    fast = make_program(workload, {}, torch.device("cpu"))
    for epoch in range(1, workload.epochs + 1):
        fast.begin_epoch(epoch)
        for block in fast.blocks(epoch):
            fast.run_steps(block)
    fast.take_metrics()
    return fast.evaluate().accuracy


def _row(way: str, accuracies: list[float]) -> str:
    cells = " | ".join(f"{accuracy:.2f}" for accuracy in accuracies)
    return f"| {way} | {cells} | {mean(accuracies):.2f} | {stdev(accuracies):.2f} |"
