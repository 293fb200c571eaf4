"""The limits that a container or a batch system puts on this process: CPU time and memory.

https://docs.kernel.org/admin-guide/cgroup-v2.html
https://docs.kernel.org/scheduler/sched-bwc.html (version 1)
"""

import os
import re
from pathlib import Path
from typing import NamedTuple

from mnist_gpu.system import ROOT, text

# /proc/self/cgroup names the controllers of version 1; version 2 stands there without a name
V2 = ""
# by controller: the limit, what is used of it, and what of that are only files kept for rereading
MEMORY = {
    V2: ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


class Throttling(NamedTuple):
    """How often and for how long the CPU quota has held the cgroup back since it was made."""

    periods: int  # in which the quota was used up before their end
    of_periods: int
    # time that run queues stood still, summed over CPUs: it may pass faster than the clock
    throttled_s: float


def quota(root: Path = ROOT) -> float | None:
    """CPUs the cgroups allow (such as 1.5), the tightest on the way up; None without a limit."""
    stated = [text(folder / "cpu.max") for folder in folders(V2, root)]
    stated += [
        f"{text(folder / 'cpu.cfs_quota_us')} {text(folder / 'cpu.cfs_period_us')}"
        for folder in folders("cpu", root)
    ]
    # no limit is `max` (version 2) or -1 (version 1)
    limits = [re.fullmatch(r"(\d+) ([1-9]\d*)", line) for line in stated]
    return min((int(limit[1]) / int(limit[2]) for limit in limits if limit), default=None)


def memory_bytes(root: Path = ROOT) -> tuple[int | None, int | None]:
    """Memory in all, and what is left: of the machine, or of the tightest cgroup where that is
    less; None where the system does not say."""
    kib = _numbers(root / "proc/meminfo")
    whole = [1024 * kib[name] for name in ("MemTotal:",) if name in kib]
    free = [1024 * kib[name] for name in ("MemAvailable:",) if name in kib]
    if root == ROOT and not kib:
        import psutil

        machine = psutil.virtual_memory()
        whole, free = [machine.total], [machine.available]
    for controller, (limit, used, kept) in MEMORY.items():
        for folder in folders(controller, root):
            most, now = text(folder / limit), text(folder / used)
            # version 1 says "no limit" with a number near 2**63
            if most.isdigit() and int(most) < 2**60:
                whole.append(int(most))
                if now.isdigit():
                    # files that were read give way
                    gives_way = _numbers(folder / "memory.stat").get(kept, 0)
                    free.append(int(most) - int(now) + gives_way)
    return min(whole, default=None), min(free, default=None)


def throttling(root: Path = ROOT) -> Throttling | None:
    """Counted over the cgroup and those above it, each of which may have a quota; None if none
    counts."""
    groups = [*folders(V2, root), *folders("cpu", root)]
    stated = [_numbers(folder / "cpu.stat") for folder in groups]
    counted = [stat for stat in stated if {"throttled_usec", "throttled_time"} & stat.keys()]
    if not counted:
        return None
    return Throttling(
        sum(stat.get("nr_throttled", 0) for stat in counted),
        sum(stat.get("nr_periods", 0) for stat in counted),
        # version 2 counts microseconds, version 1 nanoseconds
        sum(s.get("throttled_usec", 0) / 1e6 + s.get("throttled_time", 0) / 1e9 for s in counted),
    )


def folders(controller: str, root: Path = ROOT) -> list[Path]:
    """The folder of this process' cgroup and those above it, innermost first.

    Args:
        controller: `V2`, or one of version 1 (`cpu`, `memory`).
        root: where `/proc` and `/sys` are.
    """
    groups: dict[str, str] = {}
    for line in text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")  # a path may hold colons too
        groups |= dict.fromkeys(controllers.split(","), path or "/")
    top, shown = _mount(controller, root)
    if controller not in groups or not top.is_dir():
        return []
    # a mount inside a container may show only the part of the tree that lies below `shown`
    within = os.path.relpath(groups[controller], shown)
    folder = top if within.startswith("..") else top / within
    # without a namespace of its own, a container reads a path that only its host has
    chain = [folder, *folder.parents] if folder.is_dir() else [top]
    return [part for part in chain if part == top or top in part.parents]


def _mount(controller: str, root: Path) -> tuple[Path, str]:
    """Where the controller is mounted, and which part of the tree is seen there (proc(5))."""
    for line in text(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, (kind, *_, options) = before.split(), after.split() or ["", ""]
        wanted = kind == "cgroup2" if controller == V2 else controller in options.split(",")
        if wanted and kind.startswith("cgroup"):
            return root / fields[4].lstrip("/"), fields[3]
    return root / "sys/fs/cgroup" / controller, "/"


def _numbers(path: Path) -> dict[str, int]:
    """Lines of a name and a number (and its unit), by name."""
    fields = (line.split() for line in text(path).splitlines())
    return {line[0]: int(line[1]) for line in fields if len(line) > 1 and line[1].isdigit()}
