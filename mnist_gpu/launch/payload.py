"""What a launcher sends: the bootstrap file with its choices written into it, and the source."""

import argparse
import hashlib
import json
import re
import secrets
import subprocess
import zipfile
from pathlib import Path
from typing import Any

from mnist_gpu.errors import UserError

CHECKOUT = Path(__file__).resolve().parents[2]
PLACE = "SETTINGS: dict = {}\n"
# the import of its other half, by bootstrap.py
OTHER_HALF = re.compile(r"^sys\.path\.insert.*?^\).*?\n", re.M | re.S)
EXAMPLE = "https://github.com/OWNER/mnist-gpu/archive/COMMIT.zip"


def settings(
    chosen: argparse.Namespace, tag: str, timeout_s: float, bundle_at: str = "", **more: Any
) -> dict[str, Any]:
    """The bootstrap's options for what a launcher was asked.

    Args:
        chosen: as `entry.parse` gives it.
        tag: marks the result.
        timeout_s: from the bootstrap's start to the runs' interruption, seconds.
        bundle_at: where a bundle lies on the platform.
        more: further options of the bootstrap.
    """
    if chosen.bundle:
        project = {"bundle": bundle_at, "manifest": manifest_digest(chosen.bundle)}
    else:
        project = {"source": chosen.source}
    run = {"overrides": chosen.overrides, "engines": chosen.engines}
    return {"tag": tag, "timeout": timeout_s, **run, **project, **more}


def bootstrap(settings: dict[str, Any] | None = None) -> str:
    """The text of `scripts/bootstrap.py` and its other half, with `settings` as its defaults.

    Args:
        settings: options of the bootstrap; none where its arguments are given there.

    Raises:
        UserError: this is not a checkout of the project.
    """
    scripts = CHECKOUT / "scripts"
    try:
        text = (scripts / "bootstrap.py").read_text(encoding="utf-8")
        half = (scripts / "bootstrap_install.py").read_text(encoding="utf-8")
    except OSError:
        raise UserError("launchers run from a checkout: scripts/bootstrap.py is missing") from None
    # as JSON inside a string: whatever a value holds, it stays a value
    literal = json.dumps(json.dumps(settings or {}, sort_keys=True))
    joined = OTHER_HALF.sub(lambda _: half, text)
    return joined.replace(PLACE, f"SETTINGS: dict = json.loads({literal})\n")


def new_tag() -> str:
    """Twelve random hexadecimal digits that mark one launch."""
    return secrets.token_hex(6)


def manifest_digest(bundle: Path) -> str:
    """SHA-256 (hex) of a bundle's manifest, which names the sums of all else in it.

    Raises:
        UserError: it is no bundle.
    """
    try:
        with zipfile.ZipFile(bundle) as archive:
            return hashlib.sha256(archive.read("manifest.json")).hexdigest()
    except (OSError, KeyError, zipfile.BadZipFile):
        raise UserError(f"--bundle {bundle}: no bundle; scripts/make_bundle.py makes one") from None


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
