"""Whether an engine ends as accurate as its framework's plain loop, seed by seed."""

import sys
from math import sqrt
from statistics import mean, stdev

from mnist_gpu.bench.variants import built
from mnist_gpu.bench.workload import whole
from mnist_gpu.protocol.dataset import normalise
from mnist_gpu.protocol.workload import Workload
from mnist_gpu.timing.stopwatch import Stopwatch
from mnist_gpu.timing.timeline import Timeline


def markdown(variant: str, model: str, epochs: int, seeds: int) -> str:
    """One row a seed: the test accuracy of both and their difference."""
    plain, ours = [], []
    for seed in range(seeds):
        print(f"training {model} for {epochs} epochs, seed {seed}", file=sys.stderr, flush=True)
        load = whole(model, epochs, seed)
        plain.append(100 * plain_loop(load))
        ours.append(100 * through_the_engine(variant, load))
    apart = [one - other for one, other in zip(ours, plain, strict=True)]
    lines = [
        f"Test accuracy in percent after {epochs} epochs of `{model}`; with a seed both begin with"
        " the same weights and see the same batches, and each draws its own dropout.",
        "",
        f"| seed | PyTorch's plain loop | {variant} | difference |",
        "|---|---|---|---|",
        *(_row(str(seed), plain[seed], ours[seed], apart[seed]) for seed in range(seeds)),
        _row("mean", mean(plain), mean(ours), mean(apart)),
        "",
        f"They differ by {mean(apart):+.3f} points; the standard error of that difference is"
        f" {stdev(apart) / sqrt(seeds):.3f}.",
    ]
    return "\n".join(lines)


def plain_loop(load: Workload) -> float:
    """The test accuracy (0 to 1) of a loop that shares nothing with the engines but the layers."""
    import torch
    import torch.nn.functional as F

    from mnist_gpu.engines.torch.network import build_network

    torch.manual_seed(load.seed)
    network = build_network(load.network)
    network.load(load.initial_weights)
    optimizer = torch.optim.Adam(network.parameters(), lr=load.learning_rate)
    part = load.dataset
    images = torch.from_numpy(normalise(part.train_images)).unsqueeze(1)
    labels = torch.tensor(part.train_labels).long()
    for epoch in range(1, load.epochs + 1):
        for batch in torch.from_numpy(load.order(epoch)).split(load.batch_size):
            optimizer.zero_grad()
            F.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
    network.eval()
    with torch.inference_mode():
        test = torch.from_numpy(normalise(part.test_images)).unsqueeze(1)
        answers = torch.cat([network(some).argmax(1) for some in test.split(500)])
    return (answers == torch.tensor(part.test_labels)).double().mean().item()


def through_the_engine(variant: str, load: Workload) -> float:
    """The test accuracy (0 to 1) after the last epoch of a run."""
    timeline = Timeline(Stopwatch(phase="other"), load.epochs)
    built(variant, load).fit(timeline)
    return timeline.history[-1].test_accuracy


def _row(what: str, plain: float, ours: float, apart: float) -> str:
    return f"| {what} | {plain:.2f} | {ours:.2f} | {apart:+.2f} |"
