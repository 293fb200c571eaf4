"""What a check has to say, and how it stands on a terminal, wide or narrow."""

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from mnist_gpu import output
from mnist_gpu.paths import packaged

COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}
ENDS = {
    "ok": "Nothing stands in the way of a run.",
    "warn": "A run works; the warnings say what it loses.",
    "fail": "Mend what failed first: a run would not work, or not mean what it seems to.",
}
HARD_SPACE = "\u00a0"
NARROW, NARROWEST = 60, 30
STATUS_COLUMNS, NAME_COLUMNS = 6, 21


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report."""

    check: str  # what was found, as `measure/data/doctor.yaml` calls it
    # ok; warn: a run works, but slower or less surely than it could; fail: a run does not work, or
    # its result would be wrong or mean something else
    status: str
    name: str  # what was looked at, in a word or three
    says: str
    costs: str = ""  # what it does to a run; empty where all is well
    mend: str = ""


def found(check: str, status: str | None = None, **values: Any) -> Finding:
    """The sentences of `measure/data/doctor.yaml` on `check` with `values` in them, and with
    another status than stands there if one is given."""
    entry = {**packaged("measure/data/doctor")[check], **({"status": status} if status else {})}
    return Finding(check=check, **{key: text.format(**values) for key, text in entry.items()})


def show(findings: Sequence[Finding]) -> None:
    """Print the findings, the worst last, where one looks first on a terminal."""
    console = output.console(soft_wrap=True)
    # what is narrower is broken by the terminal itself
    width = max(console.width, NARROWEST)
    order = list(COLOURS)
    for finding in sorted(findings, key=lambda finding: order.index(finding.status)):
        text = Text(_wrapped(finding, width))
        text.stylize(COLOURS[finding.status], 0, STATUS_COLUMNS)
        text.stylize("bold", STATUS_COLUMNS, STATUS_COLUMNS + len(finding.name))
        console.print(text)
    statuses = [finding.status for finding in findings]
    counts = ", ".join(f"{statuses.count(status)} {status}" for status in order)
    worst = max(statuses, key=order.index, default="ok")
    console.print(textwrap.fill(f"{counts}. {ENDS[worst]}", width))


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
    wrap = textwrap.TextWrapper(width, "", indent, break_on_hyphens=False)
    return "\n".join(map(wrap.fill, text.splitlines())).replace(HARD_SPACE, " ")
