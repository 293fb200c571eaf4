"""CPU time: this run's own, and everybody's on the CPUs it may use."""

import os
from pathlib import Path
from typing import Any

from mnist_gpu.measure import cpus
from mnist_gpu.system import ROOT, text

MIB = 1024 * 1024


class Family:
    """A process, by default this one, and its descendants.

    Args:
        process: psutil's `Process`, or a stand-in.
    """

    def __init__(self, process: Any = None) -> None:
        if process is None:
            import psutil

            process = psutil.Process()
        self.process = process
        self._children: list[Any] = []

    def look(self) -> None:
        """Find the descendants anew; psutil goes through every process of the machine for it."""
        self._children = self.process.children(recursive=True)

    def pids(self) -> set[int]:
        """Their numbers, as of the last look."""
        return {self.process.pid, *(child.pid for child in self._children)}

    def cpu_s(self) -> float:
        """CPU seconds used by all, those that have ended included where the system keeps them."""
        return _cpu_s(self.process) + sum(_unless_gone(child, _cpu_s) for child in self._children)

    def rss_mib(self) -> float:
        """Resident memory of all; what they share counts for each."""
        return _rss_mib(self.process) + sum(
            _unless_gone(child, _rss_mib) for child in self._children
        )


def busy_cpu_s(root: Path = ROOT) -> tuple[float, float] | None:
    """CPU seconds that the CPUs of this run have been busy, with whatever, and that a hypervisor
    kept from them, since the machine started; None where the system does not say. proc(5)."""
    mine = {f"cpu{cpu}" for cpu in cpus.allowed(root)}
    lines = [line.split() for line in text(root / "proc/stat").splitlines()]
    ticks = [[int(field) for field in line[1:9]] for line in lines if line and line[0] in mine]
    if not ticks:
        return _busy_by_psutil()
    # user, nice, system, idle, iowait, irq, softirq, steal; guests are within user
    busy = sum(sum(cpu[:3]) + sum(cpu[5:7]) for cpu in ticks)
    stolen = sum(sum(cpu[7:8]) for cpu in ticks)
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    return busy / ticks_per_s, stolen / ticks_per_s


def slowdowns(root: Path = ROOT) -> int | None:
    """How often heat has slowed the cores of this run since the machine started (Intel); None
    where the system does not count it."""
    folder = root / "sys/devices/system/cpu"
    counts = [
        text(folder / f"cpu{cpu}/thermal_throttle/core_throttle_count")
        for cpu in cpus.allowed(root)
    ]
    known = [int(count) for count in counts if count.isdigit()]
    return sum(known) if known else None


def on_battery() -> bool | None:
    """Whether a battery feeds the machine; None where there is none."""
    import psutil

    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    return None if battery is None else battery.power_plugged is False


def _busy_by_psutil() -> tuple[float, float] | None:
    import psutil

    if psutil.LINUX:
        return None
    every = psutil.cpu_times()
    idle = every.idle + getattr(every, "iowait", 0.0)
    return sum(every) - idle, 0.0


def _cpu_s(process: Any) -> float:
    times = process.cpu_times()
    ended_s = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return float(times.user + times.system + ended_s)


def _rss_mib(process: Any) -> float:
    return float(process.memory_info().rss / MIB)


def _unless_gone(child: Any, reading: Any) -> float:
    try:
        return float(reading(child))
    except Exception:  # it has ended in the meantime
        return 0.0
