"""`scripts/bench`: one command, one table (and JSON)."""

import argparse
import json
import sys
from pathlib import Path

from mnist_gpu.bench.measure import Row, installed, interleave
from mnist_gpu.bench.ways import ABLATIONS, DESCRIPTIONS, WAYS
from mnist_gpu.errors import UserError

CNN_STEPS, MLP_STEPS = 60, 938


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
    arguments = parser.parse_args()
    repeats = arguments.repeats or (3 if arguments.quick else 9)
    if arguments.startup:
        _startup(arguments)
        return
    try:
        rows = []
        for model in arguments.models.split(","):
            ways = default_ways(model, arguments.ablate)
            if arguments.ways:
                ways = arguments.ways.split(",")
            rows += _measure(model, ways, repeats, arguments.quick)
    except UserError as fault:
        print(f"scripts/bench: {fault}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    from mnist_gpu.bench.table import as_json, markdown
    from mnist_gpu.results.readme import update

    table = markdown(rows, DESCRIPTIONS)
    print(table)
    if arguments.doc:
        name = "ablation" if arguments.ablate else "bench"
        update(arguments.doc, table + "\n", name)
    if arguments.json:
        arguments.json.write_text(json.dumps(as_json(rows), indent=2) + "\n")


def _startup(arguments: argparse.Namespace) -> None:
    from mnist_gpu.bench import startup
    from mnist_gpu.results.readme import update

    engines = arguments.ways.split(",") if arguments.ways else ["lightning", "torch"]
    try:
        table = startup.markdown(engines, arguments.repeats or 3)
        print(table)
        if arguments.doc:
            update(arguments.doc, table + "\n", "startup")
    except UserError as fault:
        print(f"scripts/bench: {fault}", file=sys.stderr)
        sys.exit(1)


def default_ways(model: str, ablate: bool) -> list[str]:
    """All that this machine can do in reasonable time, or the fast pass without each measure."""
    if ablate:
        return ["program", *ABLATIONS]
    left_out = {*ABLATIONS} if model == "mlp" else {*ABLATIONS, "ensemble"}
    return [way for way in WAYS if way not in left_out and installed(way)]


def _measure(model: str, ways: list[str], repeats: int, quick: bool) -> list[Row]:
    unknown = [way for way in ways if way not in WAYS]
    if unknown or model not in ("cnn", "mlp"):
        raise UserError(f"unknown {(unknown or [model])[0]!r}: see --help")
    steps = CNN_STEPS if model == "cnn" else MLP_STEPS
    if quick:
        steps //= 2
    print(f"measuring {model}: {', '.join(ways)}; {repeats} repeats", file=sys.stderr, flush=True)
    rows = interleave(model, "float32", [*ways, "peak"], steps, repeats)
    if model == "cnn" and "program" in ways:
        rows += interleave(model, "bf16-mixed", ["program", "peak"], steps, repeats)
    return rows


if __name__ == "__main__":
    main()
