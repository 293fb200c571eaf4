"""The clock that times a run."""

from collections.abc import Iterator

from mnist_gpu.measure.checks.finding import Finding, fail, ok, warn
from mnist_gpu.measure.checks.machine import Machine

# enough to see steps of a tenth of a second, in a quarter of one
READINGS = 2_000_000
STEPS = 3
COARSE_NS, UNUSABLE_NS = 1_000_000, 100_000_000


def clock(machine: Machine) -> Iterator[Finding]:
    """How fine are its steps?"""
    step_ns = _step_ns(machine)
    says = f"It advances in steps of {_time(step_ns)}"
    if step_ns is None:
        yield fail(
            "Clock",
            "The clock does not advance, or runs backwards.",
            "No time that a run measures would mean anything.",
            "Restart the machine; if that does not help, take another.",
        )
    elif step_ns > COARSE_NS:
        yield (fail if step_ns > UNUSABLE_NS else warn)(
            "Clock",
            f"{says}.",
            "Short parts of a run are timed wrongly, by up to one step.",
            "Take another clock source if there is one (on Linux tsc), or another machine.",
        )
    else:
        yield ok("Clock", f"{says}.")


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


def _time(step_ns: int | None) -> str:
    if step_ns is None:
        return "nothing"
    if step_ns < 1000:
        return "less than a microsecond"
    return f"{step_ns / 1000:.0f} microseconds" if step_ns < 10**6 else f"{step_ns / 1e6:.0f} ms"
