"""Where this is: the platform, what stands between it and the hardware, variables, the clock."""

from collections.abc import Iterator

from mnist_gpu.checks.finding import Finding, found
from mnist_gpu.checks.machine import Machine
from mnist_gpu.measure import virtualisation
from mnist_gpu.records import signals

# a platform's own image may set them: they are then a part of the platform
SPEED_VARIABLES = ("LD_PRELOAD", "MALLOC_", "XLA_FLAGS", "PL_TRAINER_")
# enough readings to see steps of a tenth of a second, in a quarter of one
READINGS, STEPS = 2_000_000, 3
COARSE_NS, UNUSABLE_NS = 1_000_000, 100_000_000


def platform(machine: Machine) -> Iterator[Finding]:
    """Would a run's record count for the platform?"""
    label, rule = machine.platform["label"], machine.platform.get("detect")
    if machine.platform_name != "auto" and not rule:
        return
    card, _ = machine.gpu if machine.asks_for("cuda") else (None, "")
    name = card.read("name") if card is not None else None
    seen = machine.platform_name == "auto" or signals.matches(rule, machine.detection, name)
    yield found("platform" if seen else "platform_other", label=label)


def virtual(machine: Machine) -> Iterator[Finding]:
    """Is this a container or a virtual machine?"""
    kind = virtualisation.kind(machine.root, machine.environ, machine.sysctl)
    on_metal = machine.mac and "chip" in (machine.platform.get("detect") or {})
    name = "bare_metal" if not kind else "not_bare_metal" if on_metal else "virtual"
    yield found(name, kind=(kind or "").replace(", ", " in "), label=machine.platform["label"])


def variables(machine: Machine) -> Iterator[Finding]:
    """Are there variables that make a run another than the standard one?"""
    names = [name for name in sorted(machine.environ) if name.startswith(SPEED_VARIABLES)]
    if names and machine.detection.front not in ("kaggle", "colab"):
        yield found("variables", names=", ".join(names), unset=" ".join(names))


def clock(machine: Machine) -> Iterator[Finding]:
    """How fine are the steps of the clock that times a run?"""
    step_ns = _step_ns(machine)
    if step_ns is None:
        yield found("clock_broken")
    elif step_ns > COARSE_NS:
        status = "fail" if step_ns > UNUSABLE_NS else None
        yield found("clock_coarse", status, step=f"{step_ns / 1e6:.0f} milliseconds")
    else:
        fine = step_ns < 1000
        step = "less than a microsecond" if fine else f"{step_ns / 1000:.0f} microseconds"
        yield found("clock", step=step)


def _step_ns(machine: Machine) -> int | None:
    """The least step among a few; None where it stands still or goes back."""
    steps: list[int] = []
    last = machine.clock_ns()
    for _ in range(READINGS):
        now = machine.clock_ns()
        if now < last:
            return None
        if now > last:
            steps.append(now - last)
            if len(steps) == STEPS:
                break
        last = now
    return min(steps, default=None)
