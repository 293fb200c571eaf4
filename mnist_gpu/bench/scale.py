"""How a step's time grows and shrinks with devices: worked out on paper, not measured.

    python -m mnist_gpu.bench.scale --doc docs/scale.md

The model's assumptions stand in `links.yaml`, with their sources.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mnist_gpu.bench.alone import BATCH
from mnist_gpu.bench.tables import markdown, publish
from mnist_gpu.paths import packaged
from mnist_gpu.protocol.network import named_network
from mnist_gpu.records.facts import facts

DEVICES = (1, 2, 4, 8, 16, 32)
MANY_DEVICES = (1, 8, 32, 128, 512)
TRAINING_IMAGES = 60_000
FLOAT_BYTES = 4
ASSUMED: dict[str, Any] = packaged("bench/links")
CNN = named_network("cnn")
GRADIENT_BYTES = CNN.n_parameters * FLOAT_BYTES


def modelled() -> str:
    """What was worked out: a batch that devices share, and a batch for each of them."""
    links = [link["name"] for link in ASSUMED["links"]]
    strong = ((str(n), *_cells(n, BATCH / n)) for n in DEVICES)
    # the last, smaller step of an epoch is a step too
    weak = ((str(n), f"{-(-TRAINING_IMAGES // (BATCH * n)):,}", *_cells(n)) for n in MANY_DEVICES)
    return "\n\n".join(
        (
            f"One A100 at {ASSUMED['share_of_peak']:.0%} of its float32 peak,"
            f" {GRADIENT_BYTES / 1e6:.1f} MB of gradients an all-reduce.",
            markdown(("devices, batch of 64 shared", *links), strong),
            markdown(("devices, 64 images on each", "steps in an epoch", *links), weak),
        )
    )


def all_reduce_s(world: int, size_bytes: float, link: dict[str, Any]) -> float:
    """A ring: 2 (N - 1) messages of 1/N of the data, one after the other.

    Patarasu & Yuan 2009, https://doi.org/10.1016/j.jpdc.2008.09.002
    """
    # once around to add up, once more to hand out
    messages = 2 * (world - 1)
    return float(messages * (link["latency_s"] + size_bytes / world / link["bytes_per_s"]))


def step_s(images: float) -> float:
    """The arithmetic of a step, or what its kernels take to start where that is more."""
    peaks = {entry["match"]: entry["float32"] for entry in facts("peaks")["accelerators"]}
    flops_per_s = peaks["A100"] * 1e12 * ASSUMED["share_of_peak"]
    return float(max(CNN.flops_per_sample * images / flops_per_s, ASSUMED["least_step_s"]))


def _cells(world: int, images: float = BATCH) -> Iterator[str]:
    """For each link: a step of `images` on every device, and the efficiency beside one device."""
    # as if one device's step shrank with its share of the batch, and nothing were sent
    perfect_s = step_s(BATCH) * images / BATCH
    for link in ASSUMED["links"]:
        now_s = step_s(images) + all_reduce_s(world, GRADIENT_BYTES, link)
        yield f"{now_s * 1e6:,.0f} µs ({perfect_s / now_s:.0%})"


def main() -> None:
    """Print the tables, and put them into the document that was named."""
    parser = argparse.ArgumentParser(prog="python -m mnist_gpu.bench.scale", description=__doc__)
    parser.add_argument("--doc", type=Path, help="put the tables between this document's markers")
    publish("mnist_gpu.bench.scale", parser.parse_args().doc, {"modelled": modelled})


if __name__ == "__main__":
    main()
