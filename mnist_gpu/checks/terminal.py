"""Findings on a terminal, wide or narrow."""

import re
import textwrap
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from mnist_gpu.checks.finding import Finding

COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}
ENDS = {
    "ok": "Nothing stands in the way of a run.",
    "warn": "A run works; the warnings say what it loses.",
    "fail": "Mend what failed first: a run would not work, or not mean what it seems to.",
}
HARD_SPACE = "\u00a0"
NARROW = 60
STATUS_COLUMNS, NAME_COLUMNS = 6, 21


def show(found: Sequence[Finding]) -> None:
    """Print the findings, the worst last, where one looks first on a terminal."""
    console = Console(highlight=False, soft_wrap=True)
    order = list(COLOURS)
    for finding in sorted(found, key=lambda finding: order.index(finding.status)):
        text = Text(_wrapped(finding, console.width))
        text.stylize(COLOURS[finding.status], 0, STATUS_COLUMNS)
        text.stylize("bold", STATUS_COLUMNS, STATUS_COLUMNS + len(finding.name))
        console.print(text)
    counts = ", ".join(f"{sum(one.status == status for one in found)} {status}" for status in order)
    worst = max((finding.status for finding in found), key=order.index, default="ok")
    console.print(textwrap.fill(f"{counts}. {ENDS[worst]}", console.width))


def _wrapped(finding: Finding, width: int) -> str:
    wide = width >= NARROW
    status = f"{finding.status:{STATUS_COLUMNS}}"
    head = f"{status}{finding.name:{NAME_COLUMNS}}" if wide else f"{status}{finding.name}: "
    indent = " " * (len(head) if wide else STATUS_COLUMNS)
    lines = [f"{head}{finding.says}"]
    if finding.status != "ok":
        lines += [f"{indent}Costs: {finding.costs}", f"{indent}Mend: {finding.mend}"]
    # a number and its unit stay on one line
    text = re.sub(r"(?<=\d) (?=%|°C|[GM]iB|GHz|CPUs?\b)", HARD_SPACE, "\n".join(lines))
    wrap = textwrap.TextWrapper(max(width, NARROW // 2), "", indent, break_on_hyphens=False)
    return "\n".join(map(wrap.fill, text.splitlines())).replace(HARD_SPACE, " ")
