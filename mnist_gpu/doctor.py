"""What about this machine would make a run slow, wrong or impossible: `python -m mnist_gpu.doctor`."""

import argparse
import json
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from mnist_gpu.errors import UserError

if TYPE_CHECKING:
    from mnist_gpu.measure.checks.finding import Finding

ORDER = ("ok", "warn", "fail")
COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}
NARROW = 60
STATUS_COLUMNS, NAME_COLUMNS = 6, 22
ENDS = {
    "ok": "Nothing stands in the way of a run.",
    "warn": "A run works; the warnings say what it loses.",
    "fail": "Mend what failed first: a run would not work, or not mean what it seems to.",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was found; return 1 if anything would keep a run from its result, else 0."""
    options = _parse(arguments)
    try:
        asked = _asked(options.overrides)
        from mnist_gpu.measure.checks import Machine, examine

        found = examine(Machine(**asked), options.deep)
    except UserError as exc:
        print(f"mnist-gpu: {exc}", file=sys.stderr)
        return exc.exit_code
    if options.json:
        print(json.dumps({**asked, "findings": [asdict(finding) for finding in found]}, indent=2))
    else:
        show(found)
    return int(any(finding.status == "fail" for finding in found))


def show(found: Sequence["Finding"]) -> None:
    """Print the findings to the terminal, the worst last, where one looks first."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    names = NAME_COLUMNS if console.width >= NARROW else 0
    indent = " " * (STATUS_COLUMNS + names)
    for finding in sorted(found, key=lambda finding: ORDER.index(finding.status)):
        head = f"{finding.status:{STATUS_COLUMNS}}{finding.name:{names}}"
        lines = [finding.says]
        lines += [f"Costs: {finding.costs}", f"Mend: {finding.mend}"] if finding.costs else []
        first = head if names else f"{head}: "
        text = "\n".join(
            textwrap.fill(
                words,
                max(30, console.width),
                initial_indent=indent if number else first,
                subsequent_indent=indent,
                break_long_words=False,
                break_on_hyphens=False,
            )
            for number, words in enumerate(lines)
        )
        coloured = Text(text)
        coloured.stylize(COLOURS[finding.status], 0, STATUS_COLUMNS)
        coloured.stylize("bold", STATUS_COLUMNS, len(head))
        console.print(coloured)
    worst = max((finding.status for finding in found), key=ORDER.index)
    counts = (f"{sum(f.status == status for f in found)} {status}" for status in ORDER)
    console.print(textwrap.fill(f"{', '.join(counts)}. {ENDS[worst]}", console.width))


def _asked(overrides: Sequence[str]) -> dict[str, str]:
    """The engine and the platform that a run would be asked for."""
    from mnist_gpu.engines import names
    from mnist_gpu.paths import conf_dir

    known = {
        "engine": names(),
        "platform": sorted(path.stem for path in (conf_dir() / "platform").glob("*.yaml")),
    }
    asked, passed_over = {}, []
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise UserError(f"{override}: write it as engine=… or platform=…", 2)
        if key not in known:
            passed_over.append(override)
        elif value not in known[key]:
            raise UserError(f"{key}={value}: choose from {', '.join(known[key])}")
        else:
            asked[key] = value
    if passed_over:
        print(
            f"not looked at, only engine= and platform= are: {' '.join(passed_over)}",
            file=sys.stderr,
        )
    return {
        "engine": asked.get("engine", "lightning"),
        "platform_name": asked.get("platform", "auto"),
    }


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m mnist_gpu.doctor",
        description="Say what about this machine would make a run slow, wrong or impossible, and"
        " what to do about it. Nothing is changed. Exit code 1: something has to be mended first.",
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="engine=NAME|platform=NAME", help="as for mnist_gpu.train"
    )
    parser.add_argument(
        "--deep", action="store_true", help="also import the framework and compute with it"
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
