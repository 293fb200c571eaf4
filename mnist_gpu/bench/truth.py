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


@dataclass(frozen=True)
class Sitting:
    """What was estimated of one engine, and what came.

    Attributes:
        estimates: before the run and after it.
        run: with as many epochs as the estimates are of, or fewer.
    """

    estimates: list[Estimate]
    run: Record

    @property
    def train_s(self) -> float:
        """Seconds of the whole training; a shorter run's later epochs stand for those it lacks."""
        first_s, *later_s = [row.train_s for row in self.run.epochs]
        return first_s + fmean(later_s) * (self.estimates[0].epochs - 1)

    @property
    def ratios(self) -> list[float]:
        """Estimated seconds over those that it took."""
        return [estimate.train_s.value_s / self.train_s for estimate in self.estimates]

    @property
    def held(self) -> int:
        """How many intervals hold what it took."""
        spans = [estimate.train_s for estimate in self.estimates]
        return sum(span.low_s <= self.train_s <= span.high_s for span in spans)

    @property
    def half_widths(self) -> list[float]:
        """Of the intervals, as shares of the estimates."""
        spans = [estimate.train_s for estimate in self.estimates]
        return [(span.high_s - span.low_s) / 2 / span.value_s for span in spans]


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
    every = list(sittings(folder))
    return markdown(
        (
            "engine",
            "the run",
            "training took",
            "estimates",
            "median / truth",
            "intervals that hold it",
            "half-width",
        ),
        (*map(_cells, every), _together(every)),
    )


def _cells(sitting: Sitting) -> Sequence[str]:
    engine, epochs = sitting.run.engine, len(sitting.run.epochs)
    return (
        f"{engine.name}, {engine.division}",
        f"{epochs} epochs",
        f"{sitting.train_s / 60:.1f} min"
        + (" (scaled)" if epochs < sitting.estimates[0].epochs else ""),
        str(len(sitting.estimates)),
        f"{median(sitting.ratios):.3f}",
        str(sitting.held),
        f"{median(sitting.half_widths):.0%}",
    )


def _together(every: Sequence[Sitting]) -> Sequence[str]:
    number = sum(len(sitting.estimates) for sitting in every)
    held = sum(sitting.held for sitting in every)
    widths = [width for sitting in every for width in sitting.half_widths]
    ratios = [ratio for sitting in every for ratio in sitting.ratios]
    if not every:
        return ("together", *6 * ("",))
    return (
        "together",
        "",
        "",
        str(number),
        f"{median(ratios):.3f}",
        str(held),
        f"{median(widths):.0%}",
    )


def main() -> None:
    """Make what is asked for, then print the table and put it where it was asked for."""
    parser = argparse.ArgumentParser(prog="python -m mnist_gpu.bench.truth", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the estimates and runs are")
    parser.add_argument(
        "--make", metavar="ENGINE[+DIVISION],…", default="", help="train these first"
    )
    parser.add_argument("--estimates", type=int, default=5, help="before a run, and after it")
    parser.add_argument("--epochs", type=int, default=12, help="of a run")
    parser.add_argument("--doc", type=Path, help="put the table between this document's markers")
    options = parser.parse_args()
    for asked in filter(None, options.make.split(",")):
        engine, _, division = asked.partition("+")
        make(
            options.folder.resolve(), engine, division or "stock", options.estimates, options.epochs
        )
    publish("mnist_gpu.bench.truth", options.doc, {"truth": lambda: table(options.folder)})


if __name__ == "__main__":
    main()
