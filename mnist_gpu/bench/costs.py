"""Where a step's time goes, what a training holds and how it begins, how accurate it ends."""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import sqrt
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import numpy as np

from mnist_gpu.bench import alone
from mnist_gpu.bench.alone import BATCH
from mnist_gpu.bench.tables import STEPS, machine, markdown, spread
from mnist_gpu.bench.turns import interleave
from mnist_gpu.bench.variants import built, defaults, describe, make, slice_of, whole
from mnist_gpu.errors import UserError
from mnist_gpu.protocol.workload import Workload
from mnist_gpu.records.store import read_record
from mnist_gpu.timing.stopwatch import Stopwatch
from mnist_gpu.timing.timeline import Timeline

PARTS = ("loader", "forward and loss", "backward", "optimizer")
MEMORY_STEPS = 100
STARTUP_RUN = ["data=auto", "epochs=1", "logger=none"]
STARTUP = {
    "startup_s": "Python, imports, composing and checking the configuration",
    "data_s": "reading and verifying MNIST",
    "build_s": "the Trainer, the network, the data in place",
    "warmup_s": "the first steps, which are undone, and compilation",
}


def where(models: Sequence[str], repeats: int) -> str:
    """Where the time of a stock step goes: a column a model."""
    columns = [_step_ms(model, STEPS[model], repeats) for model in models]
    rows = [(part, *(column[part] for column in columns)) for part in columns[0]]
    return f"{machine()}; medians (least to most).\n\n{markdown(('ms a step', *models), rows)}"


def _step_ms(model: str, steps: int, repeats: int) -> dict[str, str]:
    """Milliseconds of each part of PyTorch's plain loop, and what the Trainer adds to it: the
    differences of the two, measured side by side."""
    load = slice_of(model, steps)
    plain, trainer = alone.torch_loop(load), alone.lightning_fit(load)
    # warm-up, of both
    plain(), trainer()
    sides = [(plain() / steps * 1e3, trainer() / steps * 1e3) for _ in range(repeats)]
    added_ms = [trainer_ms - plain_ms for plain_ms, trainer_ms in sides]
    whole_ms = median(trainer_ms for _, trainer_ms in sides)
    began = time.perf_counter()
    ends = [time.perf_counter() for _ in _parts_of_steps(load, epochs=2)]
    part_s = np.diff([began, *ends]).reshape(-1, len(PARTS))
    # the first epoch warms up
    parts_ms = np.median(part_s[len(part_s) // 2 :], axis=0) * 1e3
    return {
        **{part: f"{part_ms:.2f}" for part, part_ms in zip(PARTS, parts_ms, strict=True)},
        "the Trainer, logging included": spread(added_ms),
        "the whole step in the Trainer": f"{whole_ms:.2f}",
    }


def _parts_of_steps(load: Workload, epochs: int) -> Iterator[None]:
    """Train, and come back after each part of each step."""
    import torch.nn.functional as F

    from mnist_gpu.engines.torch.data import EpochOrder, train_loader
    from mnist_gpu.timing.trainer import synchronise

    network, optimizer, dataset = alone.torch_parts(load)
    device = next(network.parameters()).device
    loader = train_loader(EpochOrder(dataset, BATCH, load.seed))
    for _ in range(epochs):
        for batch in loader:
            images, labels = (tensor.to(device) for tensor in batch)
            synchronise(device)
            yield
            optimizer.zero_grad()
            loss = F.cross_entropy(network(images), labels)
            synchronise(device)
            yield
            loss.backward()
            synchronise(device)
            yield
            optimizer.step()
            synchronise(device)
            yield


def memory(model: str, variants: Sequence[str], repeats: int) -> str:
    """The most memory that a process held, for each variant: medians over so many processes."""

    def rows() -> Iterator[Sequence[str]]:
        for name in variants or defaults():
            # a process keeps its peak: each repeat has its own
            task = {name: partial(_peak_mib, name, model)}
            peaks_mib = [interleave(task, 1)[name][0] for _ in range(repeats)]
            yield describe(name), spread(peaks_mib, digits=0)

    said = f"medians of {repeats} processes (least to most)"
    return f"{machine()}; {said}.\n\n{markdown(('what', 'peak memory, MiB'), rows())}"


def _peak_mib(variant: str, model: str) -> Callable[[], float]:
    # a slice of an array keeps all of it: the whole set is in memory, as it is in a run
    train = make(variant, slice_of(model, MEMORY_STEPS, test_images=None))

    def measure() -> float:
        train()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        # KiB on Linux, bytes on macOS
        return peak / (1024 if sys.platform == "linux" else 1024**2)

    return measure


def startup(engines: Sequence[str], repeats: int) -> str:
    """From the command to the first training step, the phases of real runs: a column an engine."""
    columns = [_startup_s(engine, repeats) for engine in engines]

    def rows() -> Iterator[Sequence[str]]:
        for phase, meaning in STARTUP.items():
            yield f"`{phase}`", *(f"{column[phase]:.2f}" for column in columns), meaning
        yield "to the first step", *(f"{sum(column.values()):.2f}" for column in columns), ""

    table = markdown(("phase", *engines, "what"), rows())
    return f"{machine()}; medians of {repeats} runs, seconds.\n\n{table}"


def _startup_s(engine: str, repeats: int) -> dict[str, float]:
    """Median seconds of each phase before training, over `repeats` runs of one epoch of cnn."""
    command = [sys.executable, "-m", "mnist_gpu.train", "platform=cpu", f"engine={engine}"]
    command += STARTUP_RUN
    found = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            # a real run from the command line: what a user waits for
            records = list(Path(folder).glob("outputs/*/*/record.json"))
            if done.returncode or not records:
                raise UserError(f"engine={engine}: {done.stderr.strip()[-200:]}")
            found.append(read_record(records[0]).timing.model_dump())
    return {phase: median(timing[phase] for timing in found) for phase in STARTUP}


def accuracy(variant: str, model: str, epochs: int, seeds: int) -> str:
    """Whether an engine ends as accurate as PyTorch's plain loop, seed by seed."""
    found: list[tuple[float, float]] = []

    def rows() -> Iterator[Sequence[str]]:
        for seed in range(seeds):
            load = whole(model, epochs, seed)
            # pairs: what a seed's weights and order do falls on both
            found.append((100 * _plain_accuracy(load), 100 * _engine_accuracy(variant, load)))
            yield _accuracies(str(seed), *found[-1])
        yield _accuracies("mean", *(mean(column) for column in zip(*found, strict=True)))

    table = markdown(("seed", "PyTorch's plain loop", variant, "difference"), rows())
    apart = [ours - plain for plain, ours in found]
    return (
        f"{machine()}.\n\n"
        f"Test accuracy in percent after {epochs} epochs of `{model}`; with a seed both begin with"
        " the same weights and see the same batches, and each draws its own dropout.\n\n"
        f"{table}\n\nThey differ by {mean(apart):+.3f} points; the standard error of that"
        f" difference is {stdev(apart) / sqrt(seeds):.3f}."
    )


def _plain_accuracy(load: Workload) -> float:
    """The test accuracy (0 to 1) of a loop that shares nothing with the engines but the layers."""
    import torch
    from torch.utils.data import DataLoader

    from mnist_gpu.engines.torch.data import tensors

    # the loop's dropout, which no protocol restarts
    torch.manual_seed(load.seed)
    network, optimizer, images = alone.torch_parts(load)
    for epoch in range(1, load.epochs + 1):
        batches: Any = DataLoader(images, load.batch_size, sampler=load.order(epoch).tolist())
        alone.torch_epoch(network, optimizer, batches)
    network.eval()
    device = next(network.parameters()).device
    test, labels = (
        tensor.to(device)
        for tensor in tensors(load.dataset.test_images, load.dataset.test_labels).tensors
    )
    with torch.inference_mode():
        answers = torch.cat([network(some).argmax(1) for some in test.split(500)])
    return (answers == labels).double().mean().item()


def _engine_accuracy(variant: str, load: Workload) -> float:
    """The test accuracy (0 to 1) after the last epoch of a run."""
    timeline = Timeline(Stopwatch(phase="other"), load.epochs)
    built(variant, load).fit(timeline)
    return timeline.history[-1].test_accuracy


def _accuracies(what: str, plain: float, ours: float) -> Sequence[str]:
    return what, f"{plain:.2f}", f"{ours:.2f}", f"{ours - plain:+.2f}"
