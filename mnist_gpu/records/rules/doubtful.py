"""What makes no record a lie, and yet keeps it out of comparisons: a line each."""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache

from mnist_gpu.paths import PACKAGE
from mnist_gpu.records.facts import facts
from mnist_gpu.records.rules.claims import known_platforms
from mnist_gpu.records.rules.plausible import known_accelerator
from mnist_gpu.records.schema import Record
from mnist_gpu.system import output_of

FULL_DIGITS = 40


def doubts(record: Record) -> Iterator[str]:
    """Why an acceptable record is not to be compared, in words."""
    yield from _origin(record)
    hardware, engine, platform = record.hardware, record.engine, record.platform
    if hardware.accelerator != "cpu" and known_accelerator(hardware) is None:
        yield f"accelerator {hardware.accelerator_name} is in no list of known ones"
    if engine.name not in facts("engines")["engines"]:
        yield f"engine {engine.name} is in no list of known ones"
    if platform.name not in known_platforms() and platform.kind != "local":
        yield f"platform {platform.name} is none that this project can verify"


def _origin(record: Record) -> Iterator[str]:
    commit, known = record.software.git_commit, history()
    if record.software.package_sha256 in facts("releases")["package_sha256"]:
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
