"""What a launcher sends: the bootstrap file with its choices written into it, and the source."""

import argparse
import hashlib
import json
import re
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
WHICH_SOURCE = (
    "which version to run? this checkout has no GitHub remote: give --source URL (such as"
    f" {EXAMPLE}) or --bundle FILE"
)


def settings(
    chosen: argparse.Namespace, timeout_s: float, bundle_at: str = "", **more: Any
) -> dict[str, Any]:
    """The bootstrap's options for what a launcher was asked (`entry.parse`), and `more` of them.

    Args:
        chosen: what `entry.parse` gave.
        timeout_s: from the bootstrap's start to the runs' interruption, seconds.
        bundle_at: where a bundle lies on the platform.
        **more: of the bootstrap's own options.
    """
    if chosen.bundle:
        project = {"bundle": bundle_at, "manifest": manifest_digest(chosen.bundle)}
    else:
        project = {"source": chosen.source}
    run = {"overrides": chosen.overrides, "engines": chosen.engines}
    return {"tag": chosen.tag, "timeout": timeout_s, **run, **project, **more}


def bootstrap(settings: dict[str, Any] | None = None) -> str:
    """The text of `scripts/bootstrap.py` and its other half, with `settings` as its defaults; none
    where its arguments are given there."""
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


def manifest_digest(bundle: Path) -> str:
    """SHA-256 (hex) of a bundle's manifest, which names the sums of all else in it."""
    try:
        with zipfile.ZipFile(bundle) as archive:
            return hashlib.sha256(archive.read("manifest.json")).hexdigest()
    except (OSError, KeyError, zipfile.BadZipFile):
        raise UserError(f"--bundle {bundle}: no bundle; scripts/make_bundle.py makes one") from None


def default_source() -> str:
    """The archive of this checkout's commit, as GitHub serves it; empty without such a remote."""
    remote, head = _git("remote", "get-url", "origin"), _git("rev-parse", "HEAD")
    match = re.search(r"github\.com[:/]([\w.-]+/[\w.-]+?)(\.git)?$", remote)
    return f"https://github.com/{match[1]}/archive/{head}.zip" if match and head else ""


def commit() -> str | None:
    """The checkout's commit, unless files differ from it."""
    # a commit that is not what runs would be a lie in the record
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
