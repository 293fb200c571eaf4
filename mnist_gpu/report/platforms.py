"""What `conf/platform/` says of the platforms, which no record can change."""

from functools import cache
from typing import Any

from mnist_gpu.records.schema import Platform

REHEARSED = ", rehearsed on one's own machine"


def label(platform: Platform) -> str:
    """The platform's name for people."""
    known = known_platforms().get(platform.name)
    said = str(known["label"]) if known else platform.label
    return said + REHEARSED * platform.rehearsal


def platforms_with(**wanted: set[str]) -> list[str]:
    """The names of the platforms whose fields have one of the wanted values."""
    return [
        name
        for name, entry in known_platforms().items()
        if all(str(entry.get(field)) in values for field, values in wanted.items())
    ]


@cache
def known_platforms() -> dict[str, dict[str, Any]]:
    """Each platform's YAML by its name, `auto` left out."""
    import yaml

    from mnist_gpu.paths import conf_dir

    found = {}
    for path in sorted((conf_dir() / "platform").glob("*.yaml")):
        entry = yaml.safe_load(path.read_text(encoding="utf-8"))
        if isinstance(entry, dict) and entry.get("name") and entry["name"] != "auto":
            found[str(entry["name"])] = entry
    return found
