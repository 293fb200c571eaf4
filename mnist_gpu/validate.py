"""Records -> accepted or refused, with reasons: `python -m mnist_gpu.validate results/`."""

import argparse
import sys
from collections.abc import Sequence

from mnist_gpu.errors import UserError
from mnist_gpu.output import entry


@entry
def main(arguments: Sequence[str] | None = None) -> int:
    """Print one line per fault; return 0 when all records are acceptable, else 1."""
    options = _parse(arguments)
    if options.rules:
        from mnist_gpu.records.facts import facts

        for name, sentence in facts("rules").items():
            print(f"{name:22} {sentence}")
        return 0
    from mnist_gpu.records.rules import check_files

    verdict = check_files(options.paths)
    for line in verdict.faults:
        print(line)
    for run_id, lines in verdict.doubts.items():
        print(f"doubt: {run_id}: {'; '.join(lines)}", file=sys.stderr)
    refused = len({fault.path for fault in verdict.faults})
    if not verdict.accepted and not refused:
        raise UserError(f"no record in {', '.join(options.paths)}: a run writes one, record.json")
    print(f"{len(verdict.accepted)} accepted, {refused} refused", file=sys.stderr)
    return 1 if refused else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m mnist_gpu.validate",
        description="Say whether records are acceptable; one line per fault: FILE: field: reason.",
    )
    parser.add_argument(
        "paths", nargs="*", metavar="PATH", help="a record, or a folder searched for records"
    )
    parser.add_argument("--rules", action="store_true", help="print the rules and stop")
    options = parser.parse_args(arguments)
    if not options.paths and not options.rules:
        parser.error("name at least one PATH, for instance results/")
    return options


if __name__ == "__main__":
    sys.exit(main())
