"""The walk through the house in CONTRIBUTING.md: each stop's lines are those of what it names.

`python -m tests.test_walk` puts the numbers right; `--check` only says which are not.
"""

import ast
import re
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
PAGE = CHECKOUT / "CONTRIBUTING.md"
STOP = re.compile(r"`(?P<file>mnist_gpu/[\w/]+\.py):(?P<lines>\d+-\d+)` `(?P<name>[\w.]+)`")


def lines_of(file: str, name: str) -> str | None:
    """The first and last line of a function or class, `Class.method` too; None if not there."""
    path = CHECKOUT / file
    node: ast.AST | None = ast.parse(path.read_text("utf-8")) if path.is_file() else None
    for part in name.split("."):
        inside = getattr(node, "body", [])
        node = next((child for child in inside if getattr(child, "name", None) == part), None)
    if not isinstance(node, ast.FunctionDef | ast.ClassDef):
        return None
    return f"{node.lineno}-{node.end_lineno}"


def renewed(text: str) -> tuple[str, list[str]]:
    """The page with the right lines, and what was wrong with it."""
    wrong = []

    def renew(stop: re.Match[str]) -> str:
        now = lines_of(stop["file"], stop["name"])
        if now != stop["lines"]:
            what = f"is in lines {now}" if now else "is not there: name what took its place"
            wrong.append(f"{stop['file']}:{stop['lines']}: {stop['name']} {what}")
        return stop[0].replace(f":{stop['lines']}`", f":{now or stop['lines']}`")

    return STOP.sub(renew, text), wrong


def main() -> int:
    text, wrong = renewed(PAGE.read_text("utf-8"))
    print("\n".join(wrong))
    if "--check" in sys.argv:
        return 1 if wrong else 0
    PAGE.write_text(text, "utf-8")
    return 1 if any("not there" in line for line in wrong) else 0


def test_a_run_in_ten_stops_each_where_the_page_says() -> None:
    text = PAGE.read_text("utf-8")
    assert renewed(text)[1] == []
    stops = re.findall(r"^\d+\. .*$", text.split("## The house")[0], re.M)
    assert len(stops) == 10
    assert all(STOP.search(stop) for stop in stops)


def test_a_stop_that_has_moved_or_gone_is_seen_and_put_right() -> None:
    moved = "`mnist_gpu/errors.py:1-2` `UserError`"
    text, wrong = renewed(f"{moved} and `mnist_gpu/errors.py:3-4` `Nothing`")
    assert len(wrong) == 2
    assert renewed(text)[1] == wrong[1:]


if __name__ == "__main__":
    sys.exit(main())
