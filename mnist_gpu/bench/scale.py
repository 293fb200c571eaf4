"""How a step's time grows and shrinks with devices: worked out on paper, not measured.

    python -m mnist_gpu.bench.scale --doc docs/scale.md

The model's assumptions stand in `links.yaml`, with their sources.
"""

import argparse
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from mnist_gpu.bench.workload import BATCH
from mnist_gpu.errors import UserError
from mnist_gpu.protocol.network import Network, named_network

DEVICES = (1, 2, 4, 8, 16, 32)
MANY_DEVICES = (1, 8, 32, 128, 512)
TRAINING_IMAGES = 60_000
FLOAT_BYTES = 4


def modelled() -> Iterator[str]:
    """The tables of what was worked out."""
    from mnist_gpu.records.facts import facts

    peaks = {entry["match"]: entry["float32"] for entry in facts("peaks")["accelerators"]}
    device_flops_per_s = peaks["A100"] * 1e12 * _assumed()["share_of_peak"]
    cnn = named_network("cnn")
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
    chosen = parser.parse_args()
    text = "\n\n".join(modelled())
    print(text)
    if chosen.doc:
        from mnist_gpu.report.document import update

        try:
            update(chosen.doc, f"{text}\n", "modelled")
        except UserError as exc:
            sys.exit(f"mnist_gpu.bench.scale: {exc}")


if __name__ == "__main__":
    main()
