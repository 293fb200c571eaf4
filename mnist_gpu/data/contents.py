"""What a file holds, by its first bytes: for the message when it is not what was wanted."""

import gzip
import os
import re
import zlib
from pathlib import Path

from mnist_gpu.paths import PACKAGE, table

HEAD_BYTES = 512
SHOWN = 5


def describe(head: bytes) -> str:
    """Name what begins with `head` (up to `HEAD_BYTES`), in a few words after "it is"."""
    letters = head.decode("latin-1")
    for pattern, name in table(PACKAGE / "data" / "contents.yaml"):
        if re.match(pattern, letters):
            return name
    text = head.decode("utf-8-sig", "ignore")
    if not text or not all(c.isprintable() or c.isspace() for c in text):
        return f"something unknown (it begins {head[:4].hex()})"
    return f"a text that begins {text.strip().partition(chr(10))[0][:30]!r}"


def inventory(folder: Path) -> str:
    """The first few things in `folder` and what they are, in one line."""
    try:
        entries = sorted(os.listdir(folder))
    except OSError as exc:
        return f"cannot be listed: {exc.strerror}"
    shown = [f"{entry} ({_kind(folder / entry)})" for entry in entries[:SHOWN]]
    more = [f"{len(entries) - SHOWN} more"] if len(entries) > SHOWN else []
    return ", ".join(shown + more) or "nothing"


def _kind(path: Path) -> str:
    if not path.is_file():
        return "a folder" if path.is_dir() else "not a file"
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        if head.startswith(b"\x1f\x8b"):
            with gzip.open(path) as unzipped:
                head = unzipped.read(HEAD_BYTES)
    except (OSError, EOFError, zlib.error) as exc:
        return f"unreadable: {exc}"
    return describe(head) if head else "empty"
