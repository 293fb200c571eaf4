"""The limits that a container or a batch system puts on this process: CPU time and memory.

https://docs.kernel.org/admin-guide/cgroup-v2.html
https://docs.kernel.org/scheduler/sched-bwc.html (version 1)
"""

import os
import re
from pathlib import Path
from typing import NamedTuple

import psutil

from mnist_gpu.system import ROOT, text


class Throttling(NamedTuple):
    """How often and for how long the CPU quota has held the cgroup back since it was made."""

    periods: int  # in which the quota was used up before their end
    of_periods: int
    # time that run queues stood still, summed over CPUs: it may pass faster than the clock
    throttled_s: float


def quota(root: Path = ROOT) -> float | None:
    """CPUs the cgroups allow (such as 1.5), the tightest on the way up; None without a limit."""
    limits = []
    for folder in _folders("cpu", root):
        version_1 = f"{text(folder / 'cpu.cfs_quota_us')} {text(folder / 'cpu.cfs_period_us')}"
        # no limit is `max` (version 2) or -1 (version 1)
        limit = re.fullmatch(r"(\d+) ([1-9]\d*)", text(folder / "cpu.max") or version_1)
        if limit:
            limits.append(int(limit[1]) / int(limit[2]))
    return min(limits, default=None)


def memory_bytes(root: Path = ROOT) -> tuple[int | None, int | None]:
    """Memory in all, and what is left: of the machine, or of the tightest cgroup where that is
    less; None where the system does not say."""
    kib = _numbers(root / "proc/meminfo")
    whole = [1024 * kib[name] for name in ("MemTotal:",) if name in kib]
    free = [1024 * kib[name] for name in ("MemAvailable:",) if name in kib]
    if root == ROOT and not kib:
        machine = psutil.virtual_memory()
        whole, free = [machine.total], [machine.available]
    for folder in _folders("memory", root):
        most = text(folder / "memory.max") or text(folder / "memory.limit_in_bytes")
        used = text(folder / "memory.current") or text(folder / "memory.usage_in_bytes")
        # version 1 says "no limit" with a number near 2**63
        if most.isdigit() and int(most) < 2**60:
            whole.append(int(most))
            stat = _numbers(folder / "memory.stat")
            # files that were read give way; version 1 counts those of the groups below apart
            gives_way = stat.get("total_inactive_file", stat.get("inactive_file", 0))
            free += [int(most) - int(used) + gives_way] if used.isdigit() else []
    return min(whole, default=None), min(free, default=None)


def throttling(root: Path = ROOT) -> Throttling | None:
    """Counted over the cgroup and those above it, each of which may have a quota; None if none
    counts."""
    stated = [_numbers(folder / "cpu.stat") for folder in _folders("cpu", root)]
    counted = [stat for stat in stated if {"throttled_usec", "throttled_time"} & stat.keys()]
    if not counted:
        return None
    return Throttling(
        sum(stat.get("nr_throttled", 0) for stat in counted),
        sum(stat.get("nr_periods", 0) for stat in counted),
        # version 2 counts microseconds, version 1 nanoseconds
        sum(s.get("throttled_usec", 0) / 1e6 + s.get("throttled_time", 0) / 1e9 for s in counted),
    )


def _folders(controller: str, root: Path) -> list[Path]:
    """The folder of this process' cgroup and those above it, innermost first: of version 2, then
    of version 1, where the controller (`cpu`, `memory`) may still be."""
    groups: dict[str, str] = {}
    for line in text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")  # a path may hold colons too
        groups |= dict.fromkeys(controllers.split(","), path or "/")
    found = []
    # version 2 stands there without a controller's name
    for name in ("", controller):
        top, shown = _mount(name, root)
        if name in groups and top.is_dir():
            # a mount inside a container may show only the part of the tree that lies below `shown`
            within = os.path.relpath(groups[name], shown)
            folder = top if within.startswith("..") else top / within
            # without a namespace of its own, a container reads a path that only its host has
            chain = [folder, *folder.parents] if folder.is_dir() else [top]
            found += [part for part in chain if part.is_relative_to(top)]
    return found


def _mount(controller: str, root: Path) -> tuple[Path, str]:
    """Where the controller is mounted, and which part of the tree is seen there (proc(5))."""
    for line in text(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, (kind, *_, options) = before.split(), after.split() or ["", ""]
        wanted = controller in options.split(",") if controller else kind == "cgroup2"
        if wanted and kind.startswith("cgroup"):
            return root / fields[4].lstrip("/"), fields[3]
    return root / "sys/fs/cgroup" / controller, "/"


def _numbers(path: Path) -> dict[str, int]:
    """Lines of a name and a number (and its unit), by name."""
    fields = (line.split() for line in text(path).splitlines())
    return {line[0]: int(line[1]) for line in fields if len(line) > 1 and line[1].isdigit()}
