#!/usr/bin/env python3
"""Judge the records pasted into an issue, and answer with their rows, in Markdown.

    ISSUE_BODY=... scripts/result_row.py      the body of an issue made by the form "A result"

What is pasted is data and stays it: it is read from the environment, written to a temporary file
and judged as any stranger's record is. Exit code 0: all are acceptable; 1: one line for each fault.
Needs what locks/judge.txt holds.
"""

import json
import os
import re
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from mnist_gpu.records.rules import Verdict, check_files  # noqa: E402
from mnist_gpu.records.store import printable  # noqa: E402
from mnist_gpu.report import table  # noqa: E402
from mnist_gpu.report.summary import summarise  # noqa: E402

# the form's own label of the field, .github/ISSUE_TEMPLATE/result.yml
HEADING = "### The record"
# a comment holds 65,536 characters, a line of a fault a few hundred
MOST_FAULTS = 50
NOTHING = (
    "There is no record in it. Please edit the issue: paste the whole of a `record.json`, from its"
    " first `{` to its last `}`."
)
WELCOME = (
    "Thank you: acceptable. A maintainer adds it to `results/`, and the tables of the README and of"
    " the page follow. It will read about like this:"
)


def pasted(body: str) -> list[str]:
    """The JSON texts under the form's heading, each as it was pasted; none where there is none."""
    _, _, section = body.replace("\r\n", "\n").partition(f"{HEADING}\n")
    section = re.split(r"^### ", section, maxsplit=1, flags=re.M)[0]
    found, start = [], section.find("{")
    while start >= 0:
        try:
            _, end = json.JSONDecoder().raw_decode(section, start)
        except (ValueError, RecursionError):
            # what is no JSON is for the rules to refuse, with their reason
            end = section.rfind("}") + 1
            end = end if end > start else len(section)
        found.append(section[start:end])
        start = section.find("{", end)
    return found


def answer(body: str, results: Path) -> tuple[int, str]:
    """Exit code and Markdown for an issue's body, whose records may be no copies of `results`."""
    texts = pasted(body)
    if not texts:
        return 1, NOTHING
    with tempfile.TemporaryDirectory() as temporary:
        paths = [Path(temporary, f"record {n}") for n in range(1, len(texts) + 1)]
        for path, text in zip(paths, texts, strict=True):
            path.write_text(text, encoding="utf-8")
        verdict = check_files([*([results] if results.is_dir() else []), *paths])
        names = {path: path.name if len(paths) > 1 else "the record" for path in paths}
        faults = [
            printable(f"{names[fault.path]}: {fault.field}: {fault.reason} [{fault.rule}]")
            for fault in verdict.faults
            if fault.path in names
        ]
        return (1, _refusal(faults)) if faults else (0, _rows(verdict, set(paths)))


def _refusal(faults: list[str]) -> str:
    shown = faults[:MOST_FAULTS]
    if left_out := len(faults) - len(shown):
        shown.append(f"... and {left_out} more")
    # no text of a stranger ends the block
    lines = "\n".join(line.replace("`", "'") for line in shown)
    return (
        f"Not acceptable as it stands, a line for each fault:\n\n```text\n{lines}\n```\n\n"
        "A record is not mended by hand. Was all of it pasted? Then edit the issue. Is it true, and"
        " refused all the same? Then the rule is wrong: say so below."
    )


def _rows(verdict: Verdict, paths: set[Path]) -> str:
    runs = [run for run in verdict.accepted if run.path in paths]
    said = [WELCOME, ""]
    rows = summarise(runs, verdict.doubts).rows
    lines = [table.line(row, row.label) for row in rows]
    if lines:
        said += [f"| {' | '.join(table.HEADINGS)} |", "|---" * len(table.HEADINGS) + "|"]
        said += [f"| {' | '.join(map(_plain, line.cells))} |" for line in lines]
    said += [f"\n{_plain(line.cells[0])}: {_plain(line.note)}" for line in lines if line.note]
    others = [run.record for run in runs if run.record.status != "completed"]
    said += [f"\n{_plain(str(r.status))} runs are kept, and have no row." for r in others[:1]]
    return "\n".join(said)


def _plain(text: str) -> str:
    """For a table's cell; nobody is called by an `@`, and no issue by a `#`."""
    return re.sub(r"([@#])(?=\w)", "\\1\u200b", table.escape(text))


def main() -> int:
    code, text = answer(os.environ.get("ISSUE_BODY", ""), ROOT / "results")
    print(text)
    return code


if __name__ == "__main__":
    sys.exit(main())
