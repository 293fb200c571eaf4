"""`python -m mnist_gpu.parity [engines…]`: train every engine beside a plain reference, in float64
without dropout, and say how far apart they are."""

import argparse
import sys
from pathlib import Path

from mnist_gpu.errors import UserError
from mnist_gpu.parity import pairs, table
from mnist_gpu.report import document

MODELS = ("cnn", "mlp")


def main(arguments: list[str] | None = None) -> int:
    """Compare; 0 if every engine keeps within its bounds, 1 if not, 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m mnist_gpu.parity", description=__doc__)
    parser.add_argument(
        "engines",
        nargs="*",
        help="such as torch, keras:jax, torch+fused_adam, torch+open (default: all there are)",
    )
    parser.add_argument("--models", default=",".join(MODELS), help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=100, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument(
        "--faults",
        action="store_true",
        help="compare with references that are wrong in one way each: all must be told apart",
    )
    parser.add_argument("--doc", type=Path, help="put the table between this document's markers")
    chosen = parser.parse_args(arguments)
    if chosen.steps < 1:
        parser.error(f"--steps {chosen.steps}: a whole number from 1")
    marker = "faults" if chosen.faults else "parity"
    try:
        if chosen.doc:  # a document that cannot take the table is told before minutes of work
            document.replaced(chosen.doc, "", marker)
        names = chosen.engines or pairs.variants(pairs.installed())
        models = chosen.models.split(",")
        if chosen.faults:
            rows = pairs.faulty(models, chosen.steps, chosen.seed)
        else:
            rows = pairs.honest(names, models, chosen.steps, chosen.seed)
        table.show(rows)
        if chosen.doc:
            document.update(chosen.doc, table.markdown(rows), marker)
    except UserError as fault:
        print(f"parity: {fault}", file=sys.stderr)
        return 1
    return 0 if all(row.as_it_should_be for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
