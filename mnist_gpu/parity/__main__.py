"""`python -m mnist_gpu.parity [engines…]`: train every engine beside a plain reference, in float64
without dropout, and say how far apart they are."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from mnist_gpu.bench.tables import markdown, publish
from mnist_gpu.parity import pairs
from mnist_gpu.parity.compare import BOUND

COLUMNS = ("model", "engine or fault", "steps", "loss", "weights", "moments", "verdict")
TITLE = "largest relative difference from the plain reference, float64"


def main(arguments: list[str] | None = None) -> int:
    """Compare; 0 if every engine keeps within its bounds, 1 if not, 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m mnist_gpu.parity", description=__doc__)
    add = parser.add_argument
    add("engines", nargs="*", help="such as torch, keras:jax, torch+open (default: all there are)")
    add("--models", default="cnn,mlp", help="default: %(default)s")
    add("--steps", type=int, default=100, help="default: %(default)s")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--accelerator", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")
    faults = "compare with references that are wrong in one way each: all must be told apart"
    add("--faults", action="store_true", help=faults)
    add("--doc", type=Path, help="put the table between this document's markers")
    chosen = parser.parse_args(arguments)
    if chosen.steps < 1:
        parser.error(f"--steps {chosen.steps}: a whole number from 1")
    verdicts: list[bool] = []

    def rows() -> Iterator[Sequence[str]]:
        given = chosen.models.split(","), chosen.steps, chosen.seed
        if chosen.faults:
            found = pairs.faulty(*given)
        else:
            names = chosen.engines or [*pairs.variants(chosen.accelerator)]
            found = pairs.honest(names, *given, chosen.accelerator)
        for row in found:
            verdicts.append(row.as_it_should_be)
            yield _cells(row)

    print(TITLE, flush=True)
    # a row at a time: all of them may take an hour
    tables = {"faults" if chosen.faults else "parity": lambda: markdown(COLUMNS, rows())}
    publish("parity", chosen.doc, tables)
    return 0 if all(verdicts) else 1


def _cells(row: pairs.Row) -> list[str]:
    worst, apart = row.worst, row.apart_from
    verdict = f"within {BOUND:.0e}" if apart is None else f"apart by step {apart}"
    verdict += "" if row.as_it_should_be else ": WRONG"
    numbers = [f"{value:.1e}" for value in (worst.loss, worst.weights, worst.moments)]
    return [row.model, row.name, str(worst.step), *numbers, verdict]


if __name__ == "__main__":
    sys.exit(main())
