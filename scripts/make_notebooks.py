#!/usr/bin/env python3
"""Generate notebooks/*.ipynb from the reviewable notebooks/*.py (jupytext, py:percent).

`--check` only says whether they are current; `--repository OWNER/NAME` first writes the project's
address into the sources, for a fork.
"""

import argparse
import re
import sys
from pathlib import Path

import jupytext
import nbformat

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
ADDRESS = re.compile(r"(github(?:\.com)?/)[\w.-]+/[\w.-]+(?=/(?:blob|archive)/)")


def generate(source: str) -> str:
    """The notebook's JSON: no outputs, cells numbered, the same every time."""
    notebook = jupytext.reads(source, fmt="py:percent")
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:02d}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = nbformat.NotebookNode(kernelspec=kernel, colab={"provenance": []})
    notebook.nbformat_minor = 5
    nbformat.validate(notebook)
    return nbformat.writes(notebook) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if outdated")
    parser.add_argument("--repository", metavar="OWNER/NAME", help="the project's address")
    chosen = parser.parse_args()
    outdated = []
    for path in sorted(NOTEBOOKS.glob("*.py")):
        text = path.read_text(encoding="utf-8")
        if chosen.repository:
            text = ADDRESS.sub(rf"\g<1>{chosen.repository}", text)
            path.write_text(text, encoding="utf-8")
        wanted, target = generate(text), path.with_suffix(".ipynb")
        if not target.is_file() or target.read_text(encoding="utf-8") != wanted:
            outdated.append(target.name)
            if not chosen.check:
                target.write_text(wanted, encoding="utf-8")
    print("outdated:" if chosen.check else "written:", ", ".join(outdated) or "none")
    return 1 if chosen.check and outdated else 0


if __name__ == "__main__":
    sys.exit(main())
