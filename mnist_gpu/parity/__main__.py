"""`python -m mnist_gpu.parity [engines…]`: train every engine beside a plain reference, in float64
without dropout, and say how far apart they are."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown

from mnist_gpu.errors import UserError
from mnist_gpu.parity import pairs
from mnist_gpu.parity.compare import BOUND
from mnist_gpu.report import document

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
    marker = "faults" if chosen.faults else "parity"
    try:
        if chosen.doc:  # a document that cannot take the table is told before minutes of work
            document.replaced(chosen.doc, "", marker)
        given = chosen.models.split(","), chosen.steps, chosen.seed
        names = chosen.engines or pairs.variants(pairs.installed(), chosen.accelerator)
        if chosen.faults:
            rows = pairs.faulty(*given)
        else:
            rows = pairs.honest(names, *given, chosen.accelerator)
        table = markdown(rows)
        Console().print(Markdown(f"{TITLE}\n\n{table}"))
        if chosen.doc:
            document.update(chosen.doc, table, marker)
    except UserError as exc:
        print(f"parity: {exc}", file=sys.stderr)
        return 1
    return 0 if all(row.as_it_should_be for row in rows) else 1


def markdown(rows: Sequence[pairs.Row]) -> str:
    """The largest relative differences of every pair."""
    lines = (COLUMNS, ["---"] * len(COLUMNS), *(_cells(row) for row in rows))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cells(row: pairs.Row) -> list[str]:
    worst, apart = row.worst, row.apart_from
    verdict = f"within {BOUND:.0e}" if apart is None else f"apart by step {apart}"
    verdict += "" if row.as_it_should_be else ": WRONG"
    numbers = [f"{value:.1e}" for value in (worst.loss, worst.weights, worst.moments)]
    return [row.model, row.name, str(worst.step), *numbers, verdict]


if __name__ == "__main__":
    sys.exit(main())
