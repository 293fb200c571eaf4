"""`scripts/bench`: one command, one table (and JSON)."""

import argparse
import json
import sys
from pathlib import Path

from mnist_gpu.bench.measure import default_ways, speed
from mnist_gpu.bench.ways import DESCRIPTIONS, WAYS
from mnist_gpu.errors import UserError


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few repeats: under 3 minutes")
    parser.add_argument("--repeats", type=int, help="of every way (default 9; quick: 3)")
    parser.add_argument("--models", default="cnn,mlp", help="of cnn, mlp (default: both)")
    parser.add_argument("--ways", help=f"of {', '.join(WAYS)} (default: all that are installed)")
    parser.add_argument(
        "--ablate", action="store_true", help="the fast training pass without each measure"
    )
    parser.add_argument(
        "--startup", action="store_true", help="time from the command to the first step instead"
    )
    parser.add_argument("--doc", type=Path, help="put the table between this document's markers")
    parser.add_argument("--json", type=Path, help="write every repeat there")
    parser.add_argument(
        "--accuracy",
        type=int,
        metavar="EPOCHS",
        help="compare the test accuracy with the plain loop's instead",
    )
    parser.add_argument(
        "--seeds", type=int, default=3, help="how many, from 0 on, for --accuracy (default 3)"
    )
    try:
        _show(parser.parse_args())
    except UserError as fault:
        print(f"scripts/bench: {fault}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _show(arguments: argparse.Namespace) -> None:
    from mnist_gpu.report.document import update

    if arguments.seeds < 2:
        raise UserError(f"--seeds={arguments.seeds}: two at least, to have a spread")
    if arguments.startup:
        from mnist_gpu.bench import startup

        engines = arguments.ways.split(",") if arguments.ways else ["lightning", "torch"]
        name, table = "startup", startup.markdown(engines, arguments.repeats or 3)
    elif arguments.accuracy:
        from mnist_gpu.bench import accuracy

        model = arguments.models.split(",")[0]
        name, table = "accuracy", accuracy.markdown(model, arguments.accuracy, arguments.seeds)
    else:
        name, table = "ablation" if arguments.ablate else "bench", _speed(arguments)
    print(table)
    if arguments.doc:
        update(arguments.doc, table + "\n", name)


def _speed(arguments: argparse.Namespace) -> str:
    from mnist_gpu.bench.table import as_json, markdown

    repeats = arguments.repeats or (3 if arguments.quick else 9)
    rows = []
    for model in arguments.models.split(","):
        ways = default_ways(model, arguments.ablate)
        if arguments.ways:
            ways = arguments.ways.split(",")
        rows += speed(model, ways, repeats, arguments.quick)
    if arguments.json:
        arguments.json.write_text(json.dumps(as_json(rows), indent=2) + "\n")
    return markdown(rows, DESCRIPTIONS)


if __name__ == "__main__":
    main()
