"""The limits that a container or a batch system puts on this process: CPU time and memory.

https://docs.kernel.org/admin-guide/cgroup-v2.html
https://docs.kernel.org/scheduler/sched-bwc.html (version 1)
"""

import os
from dataclasses import dataclass
from pathlib import Path

from mnist_gpu.system import ROOT, text

# where mountinfo does not say: version 2, the hybrid layout, version 1
USUAL_MOUNTS = {
    "cgroup2": ("sys/fs/cgroup", "sys/fs/cgroup/unified"),
    "cpu": ("sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct"),
    "memory": ("sys/fs/cgroup/memory",),
}


@dataclass(frozen=True)
class Throttling:
    """How often and for how long the CPU quota has held the cgroup back since it was made.

    Attributes:
        periods: in which the quota was used up before their end.
        of_periods: that there were.
        throttled_s: time that its run queues stood still, summed over the CPUs they were on, so
            that it may pass faster than the clock.
    """

    periods: int
    of_periods: int
    throttled_s: float


def quota(root: Path = ROOT) -> float | None:
    """CPUs the cgroups allow (such as 1.5), the tightest on the way up; None without a limit."""
    limits = []
    for folder in folders("cgroup2", root):
        fields = text(folder / "cpu.max").split()
        limits.append(_ratio(fields[0], fields[1]) if len(fields) == 2 else None)
    for folder in folders("cpu", root):
        limits.append(_ratio(text(folder / "cpu.cfs_quota_us"), text(folder / "cpu.cfs_period_us")))
    return min((limit for limit in limits if limit is not None), default=None)


def memory_limit_bytes(root: Path = ROOT) -> int | None:
    """Memory the cgroups allow, the tightest on the way up; None without a limit."""
    found = [text(folder / "memory.max") for folder in folders("cgroup2", root)]
    found += [text(folder / "memory.limit_in_bytes") for folder in folders("memory", root)]
    # version 1 says "no limit" with a number near 2**63
    return min((int(size) for size in found if size.isdigit() and int(size) < 2**60), default=None)


def memory_free_bytes(root: Path = ROOT) -> int | None:
    """Memory that is left, of the machine or of the cgroup where that is less; None where the
    system does not say.

    What a cgroup keeps of files it has read counts as free: it gives way.
    """
    stated = _numbers(root / "proc/meminfo")
    found = [stated["MemAvailable:"] * 1024] if "MemAvailable:" in stated else []
    for controller, limit, used, cached in (
        ("cgroup2", "memory.max", "memory.current", "inactive_file"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        for folder in folders(controller, root):
            most, now = text(folder / limit), text(folder / used)
            if most.isdigit() and now.isdigit() and int(most) < 2**60:
                kept = _numbers(folder / "memory.stat").get(cached, 0)
                found.append(int(most) - int(now) + kept)
    if not found and root == ROOT:
        import psutil

        return int(psutil.virtual_memory().available)
    return min(found, default=None)


def throttling(root: Path = ROOT) -> Throttling | None:
    """Counted over the cgroup and those above it, each of which may have a quota; None if none
    counts."""
    periods, of_periods, held_back_s, counted = 0, 0, 0.0, False
    for folder in [*folders("cgroup2", root), *folders("cpu", root)]:
        stated = _numbers(folder / "cpu.stat")
        if "throttled_usec" in stated:
            held_back_s += stated["throttled_usec"] / 1e6
        elif "throttled_time" in stated:
            held_back_s += stated["throttled_time"] / 1e9
        else:
            continue
        periods += stated.get("nr_throttled", 0)
        of_periods += stated.get("nr_periods", 0)
        counted = True
    return Throttling(periods, of_periods, held_back_s) if counted else None


def folders(controller: str, root: Path = ROOT) -> list[Path]:
    """The folder of this process' cgroup and those above it, innermost first.

    Args:
        controller: `cgroup2`, or one of version 1 (`cpu`, `memory`).
        root: where `/proc` and `/sys` are.
    """
    membership = _membership(controller, root)
    if membership is None:
        return []
    for top, shown in _mounts(controller, root):
        if not top.is_dir():
            continue
        # a mount inside a container may show only the part of the tree that lies below `shown`
        within = os.path.relpath(membership, shown)
        inside = "" if within == "." or within.startswith("..") else within
        folder = top / inside
        # without a namespace of its own, a container reads a path that only its host has
        chain = [folder, *folder.parents] if folder.is_dir() else [top]
        return [part for part in chain if part == top or top in part.parents]
    return []


def _membership(controller: str, root: Path) -> str | None:
    """The path in `/proc/self/cgroup`, whose lines are `number:controllers:path`."""
    for line in text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if (
            (number == "0" and not controllers)
            if controller == "cgroup2"
            else (controller in controllers.split(","))
        ):
            return path or "/"
    return None


def _mounts(controller: str, root: Path) -> list[tuple[Path, str]]:
    """Mount points of the controller, each with the part of the tree that it shows (proc(5))."""
    found = []
    for line in text(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or not kind:
            continue
        options = kind[-1].split(",")
        if (
            kind[0] == "cgroup2"
            if controller == "cgroup2"
            else (kind[0] == "cgroup" and controller in options)
        ):
            found.append((root / fields[4].lstrip("/"), fields[3]))
    return found or [(root / path, "/") for path in USUAL_MOUNTS[controller]]


def _numbers(path: Path) -> dict[str, int]:
    """Lines of a name and a number (and its unit), by name."""
    fields = (line.split() for line in text(path).splitlines())
    return {line[0]: int(line[1]) for line in fields if len(line) > 1 and line[1].isdigit()}


def _ratio(allowed_us: str, period_us: str) -> float | None:
    """None for `max` (version 2) and -1 (version 1)."""
    if not (allowed_us.isdigit() and period_us.isdigit()) or int(period_us) == 0:
        return None
    return int(allowed_us) / int(period_us)
