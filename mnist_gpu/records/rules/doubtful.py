"""What makes no record a lie, and yet keeps it out of comparisons: a line each."""

import io
import re
import subprocess
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from pathlib import Path

from mnist_gpu.files import code_sha256
from mnist_gpu.measure import signals
from mnist_gpu.paths import PACKAGE, packaged
from mnist_gpu.records.facts import facts, limits
from mnist_gpu.records.rules.claims import known_platforms, skeleton
from mnist_gpu.records.rules.plausible import known_accelerator
from mnist_gpu.records.schema import Platform, Record
from mnist_gpu.system import output_of

FULL_DIGITS = 40
GIT_S = 20
# where nobody's own machine is
RENTED = ("kaggle", "colab", "jetstream")


def doubts(record: Record) -> Iterator[str]:
    """Why an acceptable record is not to be compared, in words."""
    yield from _origin(record)
    hardware, engine, platform = record.hardware, record.engine, record.platform
    if hardware.accelerator != "cpu" and known_accelerator(hardware) is None:
        yield f"accelerator {hardware.accelerator_name} is in no list of known ones"
    if engine.name not in facts("engines")["engines"]:
        yield f"engine {engine.name} is in no list of known ones"
    for name in engine.environment:
        if not any(fnmatchcase(name, pattern) for pattern in _of_speed()):
            yield f"environment variable {name} is in no list of those that change the speed"
    yield from _place(platform, hardware.hypervisor or "")
    yield from _slow_disk(record)
    # a Mac's label stays true of its processor
    meant = known_platforms().get(platform.name, {}).get("accelerator")
    if meant in ("cpu", "cuda") and meant != hardware.accelerator:
        yield f"platform {platform.name} is one with {meant}, and {hardware.accelerator} trained"


@cache
def _of_speed() -> list[str]:
    """Patterns of what a record may name as its environment."""
    table = packaged("measure/influences")
    found = [entry["name"] for entry in table["variables"] if entry["effect"] == "speed"]
    return [*found, Path(table["preloaded"]).name]


def _place(platform: Platform, hypervisor: str) -> Iterator[str]:
    known, flavor = known_platforms().get(platform.name), platform.signals.get("flavor")
    if platform.kind == "local" and platform.detected in RENTED:
        yield f"the signals say {platform.detected}, which is no machine of one's own"
    texts = facts("texts")
    rented = re.search(texts["rented"], platform.label, re.I)
    if rented and platform.kind == "local":
        yield f"its label says {rented.group()}, and its kind that it is one's own"
    rented = re.search(texts["rented_host"], hypervisor, re.I)
    if rented and platform.kind == "local":
        yield f"ran on a virtual machine of {rented.group()}, and says it is one's own"
    if known is not None:
        # a label that names its kind of server, and so the price, is true of no other
        host = (known.get("detect") or {}).get("host")
        if host == "jetstream" and flavor and flavor not in known["label"]:
            yield f"ran on flavor {flavor}, which is not that of {known['label']}"
        return
    if platform.kind != "local":
        yield f"platform {platform.name} is none that this project can verify"
    called = _words(f"{platform.name} {platform.label}")
    found = signals.from_signals(platform.signals)
    for row in facts("rows"):
        spoken_of = f" {_words(row['word'])}" in f" {called}"
        if spoken_of and not signals.matches(row["detect"], found, None):
            yield f"its name or label speaks of {row['word']}, and no signal does"


def _slow_disk(record: Record) -> Iterator[str]:
    timing, usual = record.timing, limits().checkpoint_doubted
    if timing.checkpoint_s > usual["s"] + usual["share"] * timing.train_s:
        beside = f"beside {timing.train_s:.0f} s of training"
        yield f"checkpoints took {timing.checkpoint_s:.0f} s {beside}"


@lru_cache(maxsize=8192)
def _words(text: str) -> str:
    """Each word as a hurried reader sees it: Eco Lab is no Colab."""
    return " ".join(map(skeleton, re.findall(r"[^\W_]+", text)))


def _origin(record: Record) -> Iterator[str]:
    software, known, releases = record.software, history(), facts("releases")
    commit = software.git_commit
    if software.program_version not in releases["program_versions"]:
        yield f"program version {software.program_version} is none of this project's"
    if software.package_sha256 in releases["package_sha256"]:
        return
    if commit is None:
        yield "made by a program of which no commit and no release is known"
    elif known:
        made = known.get(commit)
        if made is None and len(commit) < FULL_DIGITS:
            made = next((at for name, at in known.items() if name.startswith(commit)), None)
        if made is None:
            yield "made by a commit that this project's history does not hold"
        elif datetime.fromisoformat(record.created_at) < made:
            yield "made before the commit that it names"
        elif made < datetime.fromisoformat(releases["schema_since"]):
            yield "made by a commit that wrote no such records"
        elif not software.git_dirty and package_of(commit) not in (None, software.package_sha256):
            yield "made by other files than those of the commit that it names"


@cache
def package_of(commit: str) -> str | None:
    """The digest of the package's code at a commit, as `software.package_sha256` has it; None where
    it cannot be had."""
    command = ["git", "-C", str(PACKAGE.parent), "archive", commit, PACKAGE.name]
    try:
        done = subprocess.run(command, capture_output=True, timeout=GIT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    files = {}
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        for member in archive:
            if content := archive.extractfile(member):
                files[member.name.partition("/")[2]] = content.read()
    return code_sha256(files)


@cache
def history() -> dict[str, datetime]:
    """Every commit of this checkout with its instant; empty without a whole history."""
    folder = str(PACKAGE.parent)
    if not (PACKAGE.parent / ".git").exists():
        return {}
    if output_of("git", "-C", folder, "rev-parse", "--is-shallow-repository") != "false":
        return {}
    lines = (output_of("git", "-C", folder, "log", "--all", "--format=%H %ct") or "").splitlines()
    pairs = (line.split() for line in lines)
    return {name: datetime.fromtimestamp(int(seconds), UTC) for name, seconds in pairs}
