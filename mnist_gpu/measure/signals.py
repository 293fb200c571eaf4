"""What signals of a place speak for, and whether a platform's rule holds: asked of a run before it
starts, and of a record that somebody sends."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mnist_gpu.paths import packaged

FRONTENDS: dict[str, list[str]] = packaged("measure/data/frontends")
HOSTS = ("apple", "jetstream", "openstack")


@dataclass(frozen=True)
class Detection:
    """What was found.

    Attributes:
        name: in one word: the host if it is a known one, else the front, else the kind of machine.
        front: what started the process.
        host: what it runs on.
        chip: the processor's brand on Apple hardware, else empty.
        signals: everything that was seen, by name.
    """

    name: str
    front: str
    host: str
    chip: str = ""
    signals: dict[str, str] = field(default_factory=dict)


def from_signals(signals: Mapping[str, str]) -> Detection:
    """What a record's signals speak for; its name is `none` where only the machine's own system
    would be one."""
    seen = (front for front, names in FRONTENDS.items() if any(name in signals for name in names))
    # in the file's order: an image of Kaggle's carries variables of Colab's, too
    front, host, chip = next(seen, "none"), "none", signals.get("chip", "")
    if chip:
        host = "apple"
    elif front in ("kaggle", "colab"):
        host = front
    elif "dmi" in signals:
        known = names_jetstream(signals.get("cloud", ""), signals.get("flavor", ""))
        host = "jetstream" if known else "openstack"
    name = host if host != "none" else front
    return Detection(name, front, host, chip, dict(signals))


def matches(
    rule: Mapping[str, Any] | None, detection: Detection, accelerator_name: str | None
) -> bool:
    """Whether what was found is what a platform's `detect` asks for."""
    if rule is None:
        return False
    seen = {"frontend": detection.front, "host": detection.host, "chip": detection.chip}
    part = str(rule.get("gpu_contains", "")).lower()
    others = {key: wanted for key, wanted in rule.items() if key != "gpu_contains"}
    return part in (accelerator_name or "").lower() and others.items() <= seen.items()


def choose(
    platforms: Mapping[str, Mapping[str, Any]],
    detection: Detection,
    accelerator: str | None = None,
    accelerator_name: str | None = None,
) -> str | None:
    """The platform whose rule holds and asks for most of the place; of two that ask for as much,
    the one of that kind of accelerator, and then by name. None if no rule holds.

    Args:
        platforms: `detect` and `accelerator` of each, by name.
        detection: what was found.
        accelerator: what trains, `cpu`, `cuda`, `mps`; None: not known yet.
        accelerator_name: its own name.
    """
    fitting = []
    for name, entry in platforms.items():
        rule = entry.get("detect")
        if rule is not None and matches(rule, detection, accelerator_name):
            of_place = len(rule.keys() - {"gpu_contains"})
            another = accelerator is not None and entry["accelerator"] != accelerator
            fitting.append((-of_place, another, -len(rule), name))
    # tuples compare from the left, and False comes before True
    return min(fitting)[-1] if fitting else None


def names_jetstream(cloud: str, flavor: str) -> bool:
    """Whether a launcher's marks are of Jetstream2."""
    return cloud == "jetstream2" or flavor.startswith(("g3.", "g4.", "g5.", "m3."))
