"""Records -> table, page, findings: `python -m mnist_gpu.report results/`."""

import argparse
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_gpu.collection import no_collection
from mnist_gpu.errors import UserError
from mnist_gpu.output import entry

if TYPE_CHECKING:
    from mnist_gpu.report.summary import Summary


@entry
def main(arguments: Sequence[str] | None = None) -> int:
    """Report; 0 when all went well, 1 for what the user can mend, 2 for wrong usage."""
    # records hold no cycles: searching thousands of them for some would take seconds
    with no_collection():
        return _main(_parse(arguments))


def _main(options: argparse.Namespace) -> int:
    if options.compare:
        from mnist_gpu.report.compare import compare

        print("\n".join(compare(options.compare, options.paths or ["results"])))
        return 0
    if options.estimates:
        from mnist_gpu.report.estimates import gather, show

        estimates, faults = gather(options.paths)
        show(estimates)
        if faults:
            raise UserError(f"left out of the ranking: {'; '.join(faults)}")
        return 0
    from mnist_gpu.report.summary import load

    return _report(load(options.paths), options)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m mnist_gpu.report",
        description="Turn records into a table, a page and findings.",
    )
    add = parser.add_argument
    add("paths", nargs="*", metavar="PATH", help="a record, or a folder searched for records")
    add("--out", default="report", metavar="DIR", help="for index.html, runs.csv and runs.parquet")
    add("--readme", metavar="FILE", help="renew the results between its markers")
    add("--check", action="store_true", help="only say whether README and docs are current")
    ranked = "rank the estimates in the PATHs by time; - reads pasted lines from standard input"
    one_of = parser.add_mutually_exclusive_group()
    one_of.add_argument("--estimates", action="store_true", help=ranked)
    compared = "two records, folders, or names of rows of the PATHs (else of results/)"
    one_of.add_argument("--compare", nargs=2, metavar=("A", "B"), help=compared)
    options = parser.parse_args(arguments)
    if not options.paths and not options.compare:
        such = "outputs/, or - for pasted lines" if options.estimates else "results/"
        parser.error(f"name at least one PATH, for instance {such}")
    return options


def _report(summary: "Summary", options: argparse.Namespace) -> int:
    from mnist_gpu.report.document import blocks, replaced, update
    from mnist_gpu.report.export import write_files
    from mnist_gpu.report.table import print_console

    readme = Path(options.readme or "README.md")
    found = list(blocks(summary, readme)) if options.readme or options.check else []
    # what speaks against one of the documents speaks against all: nothing is half renewed
    texts = [(path, *replaced(path, content, marker)) for path, content, marker in found]
    if options.check:
        return _say_stale(dict.fromkeys(path for path, old, new in texts if old != new), readme)
    print_console(summary)
    lines = list(write_files(summary, Path(options.out)))
    for path, content, marker in found:
        done = "renewed" if update(path, content, marker) else "was current"
        print(f"{path} {done} ({marker})")
    print("\n".join(lines))
    return 0


def _say_stale(stale: Collection[Path], readme: Path) -> int:
    for path in stale:
        print(f"{path} is not current: run python -m mnist_gpu.report PATH --readme {readme}")
    if not stale:
        print(f"{readme} is current, and so are the documents beside it")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
