"""How old this process is: `startup_s` counts from its creation, imports included."""

import os
import time
from pathlib import Path


def process_age_ns() -> int:
    """Nanoseconds since the operating system created this process.

    Linux: start time in clock ticks since boot (proc(5), field 22), against `CLOCK_BOOTTIME`.
    Elsewhere: psutil's creation time against the wall clock.
    """
    stat = Path("/proc/self/stat")
    if stat.exists() and hasattr(time, "CLOCK_BOOTTIME"):
        started_ticks = int(stat.read_text().rpartition(")")[2].split()[19])
        started_ns = started_ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
        return max(0, time.clock_gettime_ns(time.CLOCK_BOOTTIME) - started_ns)
    import psutil

    return max(0, time.time_ns() - int(psutil.Process().create_time() * 1e9))
