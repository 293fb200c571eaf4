"""Whether the fast training pass ends as accurate as the plain eager loop, seed by seed."""

import sys
from math import sqrt
from statistics import mean, stdev

import torch
import torch.nn.functional as F

from mnist_gpu.bench.plain import plain_network
from mnist_gpu.bench.trained import train
from mnist_gpu.bench.workload import full
from mnist_gpu.measure import cpus
from mnist_gpu.protocol.workload import Workload


def markdown(model: str, epochs: int, seeds: int) -> str:
    """One row a seed: the test accuracy of both ways and their difference."""
    plain, fast = [], []
    for seed in range(seeds):
        print(f"training {model} for {epochs} epochs, seed {seed}", file=sys.stderr, flush=True)
        workload = full(model, epochs, seed)
        plain.append(100 * eager(workload))
        fast.append(100 * program(workload))
    apart = [one - other for one, other in zip(fast, plain, strict=True)]
    lines = [
        f"Test accuracy in percent after {epochs} epochs of `{model}`; with a seed both ways begin"
        " with the same weights and see the same batches, and each draws its own dropout.",
        "",
        "| seed | plain eager loop | the fast training pass | difference |",
        "|---|---|---|---|",
        *(_row(str(seed), plain[seed], fast[seed], apart[seed]) for seed in range(seeds)),
        _row("mean", mean(plain), mean(fast), mean(apart)),
        _row("standard deviation", stdev(plain), stdev(fast), stdev(apart)),
        "",
        f"The ways differ by {mean(apart):+.3f} points; the standard error of that difference is"
        f" {stdev(apart) / sqrt(seeds):.3f}.",
    ]
    return "\n".join(lines)


def eager(workload: Workload) -> float:
    """The test accuracy (0 to 1) of the plain loop that `ways.eager` times."""
    torch.set_num_threads(cpus.threads())
    torch.manual_seed(workload.seed)
    network = plain_network(workload.network)
    with torch.no_grad():
        for parameter, drawn in zip(
            network.parameters(), workload.initial_weights.values(), strict=True
        ):
            parameter.copy_(torch.from_numpy(drawn))
    optimizer = torch.optim.Adam(network.parameters(), lr=workload.learning_rate)
    part = workload.dataset
    images, test_images = (
        (torch.tensor(array).unsqueeze(1).float() / 255 - 0.1307) / 0.3081
        for array in (part.train_images, part.test_images)
    )
    labels, test_labels = (
        torch.tensor(array).long() for array in (part.train_labels, part.test_labels)
    )
    for epoch in range(1, workload.epochs + 1):
        for batch in torch.from_numpy(workload.order(epoch)).split(workload.batch_size):
            optimizer.zero_grad()
            F.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
    network.eval()
    with torch.inference_mode():
        answers = torch.cat([network(some).argmax(1) for some in test_images.split(500)])
    return (answers == test_labels).double().mean().item()


def program(workload: Workload) -> float:
    """The test accuracy (0 to 1) of the fast training pass."""
    fast = train(workload)
    fast.take_metrics()
    return fast.evaluate().accuracy


def _row(what: str, plain: float, fast: float, apart: float) -> str:
    return f"| {what} | {plain:.2f} | {fast:.2f} | {apart:+.2f} |"
