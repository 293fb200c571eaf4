"""Records -> table, page, findings: `python -m mnist_gpu.report results/`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_gpu import output
from mnist_gpu.errors import UserError

if TYPE_CHECKING:
    from mnist_gpu.report.summary import Summary

MOST_FAULTS_SHOWN = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Report; 0 when all went well, 1 for what the user can mend, 2 for wrong usage."""
    with output.surviving():
        options = _parse(arguments)
        try:
            summary = _summary(options.paths)
            if options.check:
                return _check(summary, Path(options.readme or "README.md"))
            return _report(summary, options)
        except UserError as exc:
            print(f"mnist-gpu: {exc}", file=sys.stderr)
            return exc.exit_code


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m mnist_gpu.report",
        description="Turn records into a table, a page and findings.",
    )
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help="a record, or a folder searched for records"
    )
    parser.add_argument(
        "--out", default="report", metavar="DIR", help="for index.html, runs.csv and runs.parquet"
    )
    parser.add_argument("--readme", metavar="FILE", help="renew the results between its markers")
    parser.add_argument(
        "--check", action="store_true", help="only say whether the README is current"
    )
    return parser.parse_args(arguments)


def _summary(paths: Sequence[str]) -> "Summary":
    from mnist_gpu.records.rules import check_files
    from mnist_gpu.report.summary import summarise

    verdict = check_files(paths)
    for fault in verdict.faults[:MOST_FAULTS_SHOWN]:
        print(f"refused: {fault}", file=sys.stderr)
    if len(verdict.faults) > MOST_FAULTS_SHOWN:
        more = len(verdict.faults) - MOST_FAULTS_SHOWN
        print(f"refused: {more} more faults; see mnist_gpu.validate", file=sys.stderr)
    if verdict.faults and not verdict.accepted:
        raise UserError("no record is acceptable: nothing to report")
    return summarise(verdict.accepted)


def _check(summary: "Summary", readme: Path) -> int:
    from mnist_gpu.report.extra import need_scipy
    from mnist_gpu.report.document import replaced
    from mnist_gpu.report.table import markdown

    need_scipy()
    old, new = replaced(readme, markdown(summary))
    if old == new:
        print(f"{readme} is current")
        return 0
    print(f"{readme} is not current: run python -m mnist_gpu.report PATH --readme {readme}")
    return 1


def _report(summary: "Summary", options: argparse.Namespace) -> int:
    from mnist_gpu.report.extra import need_scipy, write_files
    from mnist_gpu.report.document import replaced, update
    from mnist_gpu.report.table import markdown, print_console

    print_console(summary)
    if options.readme:
        need_scipy()
        # what speaks against one of the two speaks against both: nothing is half renewed
        replaced(Path(options.readme), markdown(summary))
    lines = list(write_files(summary, Path(options.out)))
    if options.readme:
        changed = update(Path(options.readme), markdown(summary))
        print(f"{options.readme} {'renewed' if changed else 'was current'}")
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
