"""Where an operating system keeps its facts: small text files and macOS' `sysctl`."""

import platform
import subprocess
from pathlib import Path

from mnist_gpu.errors import one_line

ROOT = Path("/")
LONGEST = 200


def text(path: Path) -> str:
    """The file's text without surrounding space; empty if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def output_of(*command: str) -> str | None:
    """What a program prints; None where it is missing, fails or takes long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def sysctl(name: str) -> str | None:
    """One of macOS' system values; None elsewhere."""
    on_mac = platform.system() == "Darwin"
    return (output_of("/usr/sbin/sysctl", "-n", name) or None) if on_mac else None


def plain(words: str) -> str:
    """What may stand in a record: printable, one line, of bounded length."""
    return " ".join(one_line(words).split())[:LONGEST]
