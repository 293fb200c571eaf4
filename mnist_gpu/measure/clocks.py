"""Did the machine sleep, or was its clock set, while a run was timed?

Three clocks tell: one that stands still while the machine sleeps (it times the run), one that goes
on, and the wall clock, which anybody may set. clock_gettime(2) of Linux, clock_gettime(3) of macOS.
"""

import sys
import time

# the timing is still right after a step; the instants beside it are not
STEP_LIMIT_S = 2.0
SUSPENDED_LIMIT_S = 1.0


def awake_s() -> float:
    """Seconds on the clock that times the run, which stands still while the machine sleeps."""
    return time.perf_counter()


def boot_s() -> float | None:
    """Seconds on a clock that goes on while the machine sleeps and that nobody can set; None where
    there is none."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    if sys.platform == "darwin":
        return time.clock_gettime(time.CLOCK_MONOTONIC_RAW)
    return None


def wall_s() -> float:
    """Seconds on the clock that shows the date."""
    return time.time()


def warnings(suspended_s: float | None, step_s: float | None, told_apart: bool) -> list[str]:
    """What to say of a run during which the machine slept, or its wall clock was set.

    Args:
        suspended_s: time asleep.
        step_s: by how much the wall clock moved against the clock that nobody can set.
        told_apart: whether the machine has a clock that tells the two apart.
    """
    found = []
    if suspended_s is not None and suspended_s > SUSPENDED_LIMIT_S:
        cause = "was asleep" if told_apart else "was asleep, or its clock was set,"
        found.append(f"the machine {cause} for {suspended_s:.0f} s")
    if step_s is not None and abs(step_s) > STEP_LIMIT_S:
        found.append(
            f"the wall clock was moved by {step_s:+.0f} s, or the virtual machine stood still"
        )
    return found
