"""A fault campaign with its figures: `scripts/faults [--kills 50] [--seed 0]`."""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from mnist_gpu.errors import UserError
from mnist_gpu.faults.campaign import Campaign, carry_out


def main() -> int:
    """Carry out a campaign, print its table; exit code 1 when anything was wrong."""
    parser = argparse.ArgumentParser(prog="scripts/faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=50, help="processes to kill (default 50)")
    parser.add_argument("--seed", type=int, default=0, help="of the instants (default 0)")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--engine", default="torch")
    options = parser.parse_args()
    began = time.monotonic()
    overrides = [f"engine={options.engine}", "model=mlp", f"epochs={options.epochs}"]
    try:
        with tempfile.TemporaryDirectory(prefix="mnist-gpu-faults-") as folder:
            campaign = carry_out(Path(folder), options.kills, options.seed, overrides)
    except UserError as exc:
        print(f"mnist-gpu: {exc}", file=sys.stderr)
        return exc.exit_code
    print(f"| what | figure |\n| --- | --- |\n| engine | {options.engine} |")
    for name, value in _rows(campaign):
        print(f"| {name} | {value} |")
    print(f"| wall clock | {(time.monotonic() - began) / 60:.1f} min |")
    for fault in campaign.faults:
        print(f"FAULT {fault}")
    return 1 if campaign.faults else 0


def _rows(campaign: Campaign) -> Iterator[tuple[str, object]]:
    segments = campaign.segments or [0]
    yield "processes killed (SIGKILL)", campaign.kills
    for stage, kills in sorted(campaign.stages.items()):
        yield f"killed during {stage}", kills
    yield "runs brought to their end", len(campaign.segments)
    yield "segments of a run, mean", f"{sum(segments) / len(segments):.1f}"
    yield "segments of a run, most", max(segments)
    yield "started anew (killed before the first checkpoint)", campaign.fresh_starts
    yield "files read back whole", campaign.files
    yield "an undisturbed attempt", f"{campaign.attempt_s:.1f} s"
    yield "faults", len(campaign.faults)


if __name__ == "__main__":
    sys.exit(main())
