"""`scripts/bench`: one command, one table (and JSON)."""

import argparse
import json
import sys
from pathlib import Path

from mnist_gpu.bench.measure import Row, installed, interleave
from mnist_gpu.bench.ways import DESCRIPTIONS, WAYS
from mnist_gpu.errors import UserError

CNN_STEPS, MLP_STEPS = 60, 938


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few repeats: under 3 minutes")
    parser.add_argument("--repeats", type=int, help="of every way (default 9; quick: 3)")
    parser.add_argument("--models", default="cnn,mlp", help="of cnn, mlp (default: both)")
    parser.add_argument("--ways", help=f"of {', '.join(WAYS)} (default: all that are installed)")
    parser.add_argument("--json", type=Path, help="write every repeat there")
    arguments = parser.parse_args()
    ways = arguments.ways.split(",") if arguments.ways else [w for w in WAYS if installed(w)]
    repeats = arguments.repeats or (3 if arguments.quick else 9)
    try:
        rows = []
        for model in arguments.models.split(","):
            rows += _measure(model, ways, repeats, arguments.quick)
    except UserError as fault:
        print(f"scripts/bench: {fault}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    from mnist_gpu.bench.table import as_json, markdown

    print(markdown(rows, DESCRIPTIONS))
    if arguments.json:
        arguments.json.write_text(json.dumps(as_json(rows), indent=2) + "\n")


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
