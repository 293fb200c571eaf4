"""Is this the platform that was asked for?"""

from collections.abc import Iterator

from mnist_gpu.measure import detect
from mnist_gpu.measure.checks.finding import Finding, ok, warn
from mnist_gpu.measure.checks.machine import Machine


def platform(machine: Machine) -> Iterator[Finding]:
    """Would a run's record count for the platform?"""
    chosen = machine.platform
    label, rule = chosen["label"], chosen.get("detect")
    if machine.platform_name == "auto":
        yield ok("Platform", f"Found by itself: {label}.")
        return
    card, _ = machine.gpu if machine.wants("cuda") else (None, "")
    name = card.name() if card is not None else None
    if detect.matches(rule, machine.detection, name):
        yield ok("Platform", f"{label}.")
    else:
        yield warn(
            "Platform",
            f"{label} was asked for, but this machine is not seen to be that.",
            "The run's result stands apart, as one whose platform could not be verified.",
            "Leave platform= out, or run there.",
        )
