"""Where an operating system keeps its facts: small text files and macOS' `sysctl`."""

import platform
import subprocess
from pathlib import Path

ROOT = Path("/")
LONGEST = 200


def text(path: Path) -> str:
    """The file's text without surrounding space; empty if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def sysctl(name: str) -> str | None:
    """One of macOS' system values; None elsewhere."""
    if platform.system() != "Darwin":
        return None
    try:
        done = subprocess.run(
            ["/usr/sbin/sysctl", "-n", name], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def plain(words: str) -> str:
    """What may stand in a record: printable, one line, of bounded length."""
    visible = "".join(letter if letter.isprintable() else " " for letter in words)
    return " ".join(visible.split())[:LONGEST]
