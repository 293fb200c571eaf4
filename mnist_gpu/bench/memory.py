"""`python -m mnist_gpu.bench.memory VARIANT MODEL`: the most memory that a training held.

Each in a process of its own, which reads its own peak (`ru_maxrss`) after an epoch and an
evaluation's worth of it. Prints MiB.
"""

import resource
import subprocess
import sys

from mnist_gpu.bench.tables import machine
from mnist_gpu.bench.variants import defaults, describe, make
from mnist_gpu.bench.workload import BATCH, whole
from mnist_gpu.errors import UserError

STEPS = 100


def measure(variant: str, model: str) -> float:
    """MiB, in a new process.

    Raises:
        UserError: it stopped.
    """
    command = [sys.executable, "-m", "mnist_gpu.bench.memory", variant, model]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"bench: {variant}: {done.stderr.strip().splitlines()[-1]}")
    return float(done.stdout.split()[-1])


def markdown(model: str, variants: list[str]) -> str:
    """A row a variant."""
    lines = [f"{machine()}.", "", "| what | peak memory, MiB |", "|---|---|"]
    for variant in variants or defaults(model):
        lines.append(f"| {describe(variant)} | {measure(variant, model):,.0f} |")
        print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)


def main() -> None:
    """Train a part of an epoch of the whole set and say the peak."""
    from dataclasses import replace

    variant, model = sys.argv[1:]
    load = whole(model)
    part = replace(
        load.dataset,
        train_images=load.dataset.train_images[: STEPS * BATCH],
        train_labels=load.dataset.train_labels[: STEPS * BATCH],
    )
    # the whole set is in memory, as it is in a run
    make(variant, replace(load, dataset=part))()
    make_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(make_peak / (1024 if sys.platform == "linux" else 1024**2))


if __name__ == "__main__":
    main()
