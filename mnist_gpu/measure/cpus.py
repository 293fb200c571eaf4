"""How many CPUs this process may really use, and how busy they are.

`os.cpu_count()` shows the host; affinity and the cgroup's quota say what is this process' own.
"""

import math
import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from mnist_gpu import system
from mnist_gpu.measure import cgroup
from mnist_gpu.system import ROOT, text

Sysctl = Callable[[str], str | None]
TOPOLOGY = "sys/devices/system/cpu"


def allowed(root: Path = ROOT) -> list[int]:
    """The logical CPUs the process may run on."""
    if root == ROOT and hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    for line in text(root / "proc/self/status").splitlines():
        if line.startswith("Cpus_allowed_list:"):
            return listed(line.partition(":")[2].strip())
    return list(range(os.cpu_count() or 1))


def listed(ranges: str) -> list[int]:
    """The kernel's `0-2,5` as [0, 1, 2, 5]; an empty text lists none."""
    ends = [part.partition("-") for part in ranges.split(",") if part]
    return [cpu for first, _, last in ends for cpu in range(int(first), int(last or first) + 1)]


def physical_cores(root: Path = ROOT, sysctl: Sysctl = system.sysctl) -> int:
    """Physical cores among the allowed CPUs; hyper-threads of one core count once."""
    cpus = allowed(root)
    if (root / TOPOLOGY).is_dir():
        siblings = [text(root / TOPOLOGY / f"cpu{n}/topology/thread_siblings_list") for n in cpus]
        return len({shared or str(cpu) for cpu, shared in zip(cpus, siblings, strict=True)})
    return int(sysctl("hw.physicalcpu") or psutil.cpu_count(logical=False) or len(cpus))


def threads(
    root: Path = ROOT, sysctl: Sysctl = system.sysctl, environ: Mapping[str, str] = os.environ
) -> int:
    """Threads to compute with: those that `OMP_NUM_THREADS` asks for, else physical cores within
    affinity and quota, at least 1.

    On Apple silicon the performance cores only, as PyTorch does: the others would be waited for.
    """
    # a list says how many at each level of nesting
    asked = environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    cores = int(sysctl("hw.perflevel0.physicalcpu") or physical_cores(root, sysctl))
    limit = cgroup.quota(root)
    return max(1, cores if limit is None else min(cores, math.floor(limit)))


def busy_cpu_s(root: Path = ROOT) -> tuple[float, float] | None:
    """CPU seconds that the CPUs of this run have been busy, with whatever, and that a hypervisor
    kept from them, since the machine started; None where the system does not say. proc(5)."""
    mine = {f"cpu{cpu}" for cpu in allowed(root)}
    lines = [line.split() for line in text(root / "proc/stat").splitlines()]
    ticks = [[int(field) for field in line[1:9]] for line in lines if line and line[0] in mine]
    if not ticks:
        every = psutil.cpu_times()
        return None if psutil.LINUX else (sum(every) - every.idle, 0.0)
    # user, nice, system, idle, iowait, irq, softirq, steal; guests are within user
    busy = sum(sum(cpu[:3]) + sum(cpu[5:7]) for cpu in ticks)
    stolen = sum(sum(cpu[7:8]) for cpu in ticks)
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    return busy / ticks_per_s, stolen / ticks_per_s


def slowdowns(root: Path = ROOT) -> int | None:
    """How often heat has slowed the cores of this run since the machine started (Intel); None
    where the system does not count it."""
    count = "thermal_throttle/core_throttle_count"
    counts = [text(root / TOPOLOGY / f"cpu{cpu}" / count) for cpu in allowed(root)]
    known = [int(count) for count in counts if count.isdigit()]
    return sum(known) if known else None


def on_battery(root: Path = ROOT) -> bool | None:
    """Whether a battery feeds the machine; None where there is none."""
    if root == ROOT and platform.system() != "Linux":
        battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
        return None if battery is None else battery.power_plugged is False
    batteries, plugged_in = [], False
    for supply in (root / "sys/class/power_supply").glob("*"):
        # the batteries of a mouse or a headset are of scope "Device"
        if text(supply / "type") == "Battery" and text(supply / "scope") != "Device":
            batteries.append(text(supply / "status"))
        plugged_in |= text(supply / "online") == "1"
    return "Discharging" in batteries and not plugged_in if batteries else None
