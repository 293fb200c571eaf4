"""The commands that the README and the pages under docs/ show."""

import re
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
PAGES = (CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").rglob("*.md")))
FENCED = re.compile(r"^```sh\n(.*?)^```", re.M | re.S)
INLINE = re.compile(
    r"`((?:scripts/|(?:\.venv/bin/)?python -m mnist_gpu|mnist-gpu (?=train)|pip install )[^`]+)`"
)


def commands() -> list[str]:
    """Each command once, as it stands there, without comments."""
    found: dict[str, None] = {}
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        lines = [line for block in FENCED.findall(text) for line in _lines(block)]
        for line in (*lines, *INLINE.findall(text)):
            # a loop is one command, whatever it is made of
            parts = [line] if line.startswith("for ") else re.split(r"&&|;|\|", line)
            found |= dict.fromkeys(part.strip() for part in parts)
    return list(found)


def _lines(block: str) -> Iterator[str]:
    block = re.sub(r"\s+#.*$", "", block, flags=re.M).replace("\\\n", "")
    for part in re.split(r"(^for .*?^done$)", block, flags=re.M | re.S):
        lines = [part] if part.startswith("for ") else part.splitlines()
        yield from (line for line in lines if line.strip())
