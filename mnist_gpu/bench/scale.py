"""How a step's time grows and shrinks with devices, batch, model and seeds.

    python -m mnist_gpu.bench.scale --doc docs/scale.md

Measures what one CPU can show (the step against its batch, seeds at once, an all-reduce between two
processes), and works out the rest from a model whose assumptions stand in `links.yaml`.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from mnist_gpu.bench.table import machine
from mnist_gpu.bench.workload import BATCH, workload
from mnist_gpu.protocol.network import Network
from mnist_gpu.protocol.workload import Workload

BATCHES = (64, 32, 16, 8, 4, 2)
MEMBERS = (1, 2, 4, 8, 16)
DEVICES = (1, 2, 4, 8, 16, 32)
MANY_DEVICES = (1, 8, 32, 128, 512)
REPEATS = 5
TRAINING_IMAGES = 60_000
FLOAT_BYTES = 4


def measured() -> Iterator[str]:
    """The tables of what was measured here."""
    yield f"On {machine()}; float32, medians of {REPEATS} repeats."
    yield _table(
        ("images in a step", "cnn: ms per step", "share of a full step", "mlp: ms per step"),
        _against_batch(),
    )
    yield _table(
        ("seeds at once, mlp", "ms per step", "ms per step and seed", "times one seed alone"),
        _against_members(),
    )
    yield _table(("all-reduce, 2 processes on this machine (Gloo)", "MB", "ms"), _all_reduces())


def modelled() -> Iterator[str]:
    """The tables of what was worked out."""
    from mnist_gpu.records.facts import facts

    peaks = {entry["match"]: entry["float32"] for entry in facts("peaks")["accelerators"]}
    device_flops_per_s = peaks["A100"] * 1e12 * _assumed()["share_of_peak"]
    cnn = workload("cnn", 1).network
    yield (
        f"One A100 at {_assumed()['share_of_peak']:.0%} of its float32 peak,"
        f" {cnn.n_parameters * FLOAT_BYTES / 1e6:.1f} MB of gradients an all-reduce."
    )
    links = _assumed()["links"]
    yield _table(
        ("devices, batch of 64 shared", *(link["name"] for link in links)),
        [_strong(cnn, n, device_flops_per_s) for n in DEVICES],
    )
    yield _table(
        ("devices, 64 images on each", "steps in an epoch", *(link["name"] for link in links)),
        [_weak(cnn, n, device_flops_per_s) for n in MANY_DEVICES],
    )


def all_reduce_s(world: int, size_bytes: float, link: dict[str, Any]) -> float:
    """A ring: 2 (N - 1) messages of 1/N of the data, one after the other.

    Patarasu & Yuan 2009, https://doi.org/10.1016/j.jpdc.2008.09.002
    """
    messages = 2 * (world - 1)
    return float(messages * (link["latency_s"] + size_bytes / world / link["bytes_per_s"]))


def step_s(network: Network, images: float, flops_per_s: float) -> float:
    """The arithmetic of a step, or what its kernels take to start where that is more."""
    arithmetic_s = network.flops_per_sample * images / flops_per_s
    return float(max(arithmetic_s, _assumed()["least_step_s"]))


def _strong(network: Network, world: int, flops_per_s: float) -> tuple[str, ...]:
    return (str(world), *_cells(network, world, BATCH / world, flops_per_s))


def _weak(network: Network, world: int, flops_per_s: float) -> tuple[str, ...]:
    steps = -(-TRAINING_IMAGES // (BATCH * world))
    return (str(world), f"{steps:,}", *_cells(network, world, BATCH, flops_per_s))


def _cells(network: Network, world: int, images: float, flops_per_s: float) -> Iterator[str]:
    """For each link: a step of `images` on every device, and the efficiency beside one device."""
    alone = step_s(network, BATCH, flops_per_s)
    perfect = alone * images / BATCH
    for link in _assumed()["links"]:
        now = step_s(network, images, flops_per_s)
        now += all_reduce_s(world, network.n_parameters * FLOAT_BYTES, link)
        yield f"{now * 1e6:,.0f} µs ({perfect / now:.0%})"


def _against_batch() -> list[tuple[str, ...]]:
    found = {
        model: {size: _step_time(replace(workload(model, 30), batch_size=size)) for size in BATCHES}
        for model in ("cnn", "mlp")
    }
    cnn, mlp = found["cnn"], found["mlp"]
    return [
        (
            str(size),
            f"{cnn[size] * 1e3:.2f}",
            f"{cnn[size] / cnn[BATCH]:.0%}",
            f"{mlp[size] * 1e3:.3f}",
        )
        for size in BATCHES
    ]


def _against_members() -> list[tuple[str, ...]]:
    load = workload("mlp", 30)
    found = {count: _step_time(replace(load, ensemble=count)) for count in MEMBERS}
    return [
        (
            str(count),
            f"{found[count] * 1e3:.3f}",
            f"{found[count] / count * 1e3:.3f}",
            f"{found[1] * count / found[count]:.2f}",
        )
        for count in MEMBERS
    ]


def _step_time(load: Workload) -> float:
    """Median seconds of an optimizer step."""
    import torch

    from mnist_gpu.engines.torch import make_program

    program = make_program(load, {}, torch.device("cpu"))
    program.warm_up()
    program.begin_epoch(1)

    def epoch() -> None:
        program.run_steps(program.order(1))
        program.take_metrics()

    return _median_s(epoch) / load.steps_per_epoch


def _all_reduces() -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for model in ("cnn", "mlp"):
        size = workload(model, 1).network.n_parameters
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += ["--nproc-per-node=2", "-m", "mnist_gpu.bench.scale", "--all-reduce", str(size)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds = float(done.stdout.split()[-1])
        rows.append((model, f"{size * FLOAT_BYTES / 1e6:.1f}", f"{seconds * 1e3:.2f}"))
    return rows


def _time_all_reduce(numbers: int) -> None:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    buffer = torch.zeros(numbers)
    seconds = _median_s(lambda: dist.all_reduce(buffer), 50)
    if dist.get_rank() == 0:
        print(seconds)
    dist.destroy_process_group()


def _median_s(work: Callable[[], Any], repeats: int = REPEATS) -> float:
    work()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return median(times)


@cache
def _assumed() -> dict[str, Any]:
    import yaml

    found: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "links.yaml").read_text())
    return found


def _table(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(headings)} |", f"|{'---|' * len(headings)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def main() -> None:
    """Print the tables, and put them into the document that was named."""
    parser = argparse.ArgumentParser(prog="python -m mnist_gpu.bench.scale", description=__doc__)
    parser.add_argument("--doc", type=Path, help="put the tables between this document's markers")
    parser.add_argument("--all-reduce", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.all_reduce:
        _time_all_reduce(chosen.all_reduce)
        return
    from mnist_gpu.report.document import update

    for name, parts in (("modelled", modelled()), ("measured", measured())):
        text = "\n\n".join(parts)
        print(f"{text}\n")
        if chosen.doc:
            update(chosen.doc, f"{text}\n", name)


if __name__ == "__main__":
    main()
