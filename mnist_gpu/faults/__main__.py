"""A fault campaign with its figures: `scripts/faults [--kills 50] [--seed 0]`."""

import argparse
import sys
import tempfile
import time
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
            campaign = carry_out(Path(folder), options.kills, options.seed, overrides, _say)
    except UserError as fault:
        print(f"mnist-gpu: {fault}", file=sys.stderr)
        return fault.exit_code
    for name, value in rows(campaign, options.engine):
        print(f"| {name} | {value} |")
    print(f"| wall clock | {(time.monotonic() - began) / 60:.1f} min |")
    for wrong in campaign.faults:
        print(f"FAULT {wrong}")
    return 1 if campaign.faults else 0


def rows(campaign: Campaign, engine: str) -> list[tuple[str, str]]:
    """The figures of a campaign, as a table's rows."""
    stages = [(f"killed during {name}", str(n)) for name, n in sorted(campaign.stages.items())]
    return [
        ("what", "figure"),
        ("---", "---"),
        ("engine", engine),
        ("processes killed (SIGKILL)", str(campaign.kills)),
        *stages,
        ("runs brought to their end", str(len(campaign.segments))),
        ("segments of a run, mean", f"{_mean(campaign.segments):.1f}"),
        ("segments of a run, most", str(max(campaign.segments, default=0))),
        ("started anew (killed before the first checkpoint)", str(campaign.fresh_starts)),
        ("files read back whole", str(campaign.files)),
        ("an undisturbed attempt", f"{campaign.attempt_s:.1f} s"),
        ("faults", str(len(campaign.faults))),
    ]


def _mean(values: list[int]) -> float:
    return sum(values) / len(values) if values else 0.0


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
