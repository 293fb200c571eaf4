"""What a launcher sends: the bootstrap file with its choices written into it, and the source."""

import json
import re
import secrets
import subprocess
from pathlib import Path
from typing import Any

from mnist_gpu.errors import UserError

CHECKOUT = Path(__file__).resolve().parents[2]
PLACE = "SETTINGS: dict = {}\n"
EXAMPLE = "https://github.com/OWNER/mnist-gpu/archive/COMMIT.zip"


def bootstrap(settings: dict[str, Any] | None = None) -> str:
    """The text of `scripts/bootstrap.py`, with `settings` (its options) as its defaults.

    Raises:
        UserError: this is not a checkout of the project.
    """
    path = CHECKOUT / "scripts" / "bootstrap.py"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        raise UserError("launchers run from a checkout: scripts/bootstrap.py is missing") from None
    if text.count(PLACE) != 1:
        raise UserError("scripts/bootstrap.py: the line `SETTINGS: dict = {}` is missing")
    return text.replace(PLACE, f"SETTINGS: dict = {_literal(settings or {})}\n")


def _literal(settings: dict[str, Any]) -> str:
    """As JSON inside a string: whatever a value holds, it stays a value."""
    return f"json.loads({json.dumps(json.dumps(settings, sort_keys=True))})"


def new_tag() -> str:
    """Twelve random hexadecimal digits that mark one launch."""
    return secrets.token_hex(6)


def default_source() -> str:
    """The archive of this checkout's commit, as GitHub serves it.

    Raises:
        UserError: there is no such archive; the message says what to give instead.
    """
    remote, head = _git("remote", "get-url", "origin"), _git("rev-parse", "HEAD")
    match = re.search(r"github\.com[:/]([\w.-]+/[\w.-]+?)(\.git)?$", remote)
    if not (match and head):
        raise UserError(
            "which version to run? this checkout has no GitHub remote: give --source URL (such as"
            f" {EXAMPLE}) or --bundle FILE"
        )
    return f"https://github.com/{match[1]}/archive/{head}.zip"


def commit() -> str | None:
    """The checkout's commit, unless files differ from it."""
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return None if changed else _git("rev-parse", "HEAD") or None


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(CHECKOUT), *arguments], capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
