"""`python -m mnist_gpu.bench.truth FOLDER`: estimates beside the runs that they were estimates of.

With `--make`, each engine that is named trains first: some estimates, a run, and as many estimates
again. What is there already is not made again, so that a long sitting can be cut in pieces.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

from mnist_gpu.bench.tables import markdown, publish
from mnist_gpu.records.estimate import Estimate, read_json
from mnist_gpu.records.schema import Record
from mnist_gpu.records.store import read_record

RUN = "run"
HEADINGS = (
    *("engine", "the run", "training took", "estimates", "median / truth"),
    *("intervals that hold it", "half-width"),
)


@dataclass(frozen=True)
class Sitting:
    """What was estimated of one engine, before its run and after it, and what came."""

    estimates: list[Estimate]
    run: Record

    @property
    def train_s(self) -> float:
        """Seconds of the whole training; a shorter run's later epochs stand for those it lacks."""
        # the first epoch warms up, once, however long the run
        first_s, *later_s = [row.train_s for row in self.run.epochs]
        return first_s + fmean(later_s) * (self.estimates[0].epochs - 1)


def make(folder: Path, engine: str, division: str, count: int, epochs: int) -> None:
    """Train what is not in `folder` yet: estimates, a run of so many epochs, as many estimates."""
    before, after = ([f"{when}-{n}" for n in range(1, count + 1)] for when in ("before", "after"))
    for name in (*before, RUN, *after):
        if (target := folder / f"{engine}-{division}" / name).exists():
            continue
        command = ["train", f"epochs={epochs}"] if name == RUN else ["estimate"]
        asked = ["platform=cpu", f"engine={engine}", f"division={division}", "logger=none"]
        arguments = [*asked, f"hydra.run.dir={target}"]
        subprocess.run(
            [sys.executable, "-m", f"mnist_gpu.{command[0]}", *command[1:], *arguments], check=True
        )


def sittings(folder: Path) -> Iterator[Sitting]:
    """Every sitting in `folder` that has its run."""
    for record in sorted(folder.glob(f"*/{RUN}/record.json")):
        found = sorted(record.parents[1].glob("*/estimate.json"))
        if found:
            estimates = [read_json(path.read_bytes(), str(path)) for path in found]
            yield Sitting(estimates, read_record(record))


def table(folder: Path) -> str:
    """A line an engine, and one for all of them."""
    # all together count once more: the claim is of nine in ten over all engines
    every = list(sittings(folder))
    rows = [(*_run(sitting), *_estimates([sitting])) for sitting in every]
    return markdown(HEADINGS, [*rows, ("together", "", "", *_estimates(every))])


def _run(sitting: Sitting) -> Sequence[str]:
    engine, epochs = sitting.run.engine, len(sitting.run.epochs)
    scaled = " (scaled)" if epochs < sitting.estimates[0].epochs else ""
    took = f"{sitting.train_s / 60:.1f} min{scaled}"
    return f"{engine.name}, {engine.division}", f"{epochs} epochs", took


def _estimates(some: Sequence[Sitting]) -> Sequence[str]:
    """How many there are, how near they come, how many intervals hold the truth, and how wide."""
    pairs = [(estimate.train_s, one.train_s) for one in some for estimate in one.estimates]
    if not pairs:
        return 4 * ("",)
    ratio = median(span.value_s / took_s for span, took_s in pairs)
    held = sum(span.low_s <= took_s <= span.high_s for span, took_s in pairs)
    half_width = median((span.high_s - span.low_s) / 2 / span.value_s for span, _ in pairs)
    return str(len(pairs)), f"{ratio:.3f}", str(held), f"{half_width:.0%}"


def main() -> None:
    """Make what is asked for, then print the table and put it where it was asked for."""
    parser = argparse.ArgumentParser(prog="python -m mnist_gpu.bench.truth", description=__doc__)
    add = parser.add_argument
    add("folder", type=Path, help="where the estimates and runs are")
    add("--make", metavar="ENGINE[+DIVISION],…", default="", help="train these first")
    add("--estimates", type=int, default=5, help="before a run, and after it")
    add("--epochs", type=int, default=12, help="of a run")
    add("--doc", type=Path, help="put the table between this document's markers")
    options = parser.parse_args()
    folder = options.folder.resolve()
    for asked in filter(None, options.make.split(",")):
        engine, _, division = asked.partition("+")
        make(folder, engine, division or "stock", options.estimates, options.epochs)
    publish("mnist_gpu.bench.truth", options.doc, {"truth": lambda: table(folder)})


if __name__ == "__main__":
    main()
