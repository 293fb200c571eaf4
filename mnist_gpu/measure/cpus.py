"""How many CPUs this process may really use.

`os.cpu_count()` shows the host; a container's limit stands in the cgroup.
https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu-interface-files
"""

import math
import os
from pathlib import Path

ROOT = Path("/")


def allowed(root: Path = ROOT) -> list[int]:
    """The logical CPUs the process may run on."""
    if hasattr(os, "sched_getaffinity") and root == ROOT:
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def quota(root: Path = ROOT) -> float | None:
    """CPUs the cgroup allows (such as 1.5), the tightest on the way up; None without a limit."""
    limits = [limit for limit in (_v2(root), _v1(root)) if limit is not None]
    return min(limits) if limits else None


def physical_cores(root: Path = ROOT) -> int:
    """Physical cores among the allowed CPUs; hyper-threads of one core count once."""
    cpus = allowed(root)
    cores = set()
    for cpu in cpus:
        topology = root / "sys/devices/system/cpu" / f"cpu{cpu}" / "topology"
        text = _text(topology / "thread_siblings_list")
        cores.add(text or str(cpu))
    if len(cores) == len(cpus) and not _text(root / "proc/cpuinfo"):
        # no Linux: psutil knows; on Apple silicon every core counts
        import psutil

        return min(len(cpus), psutil.cpu_count(logical=False) or len(cpus))
    return len(cores)


def threads(root: Path = ROOT) -> int:
    """Threads to compute with: physical cores within affinity and quota, at least 1."""
    limit = quota(root)
    cores = physical_cores(root)
    return max(1, cores if limit is None else min(cores, math.floor(limit)))


def throttled_s(root: Path = ROOT) -> float | None:
    """Seconds that the cgroup has held the process back since it was made; None if unknown."""
    for folder in [*_v2_folders(root), *_v1_folders(root)]:
        for line in _text(folder / "cpu.stat").splitlines():
            name, _, value = line.partition(" ")
            if name == "throttled_usec":
                return int(value) / 1e6
            if name == "throttled_time":
                return int(value) / 1e9
    return None


def _v2(root: Path) -> float | None:
    limits = []
    for folder in _v2_folders(root):
        fields = _text(folder / "cpu.max").split()
        if len(fields) == 2 and fields[0] != "max":
            limits.append(int(fields[0]) / int(fields[1]))
    return min(limits) if limits else None


def _v1(root: Path) -> float | None:
    limits = []
    for folder in _v1_folders(root):
        allowed_us = _text(folder / "cpu.cfs_quota_us")
        period_us = _text(folder / "cpu.cfs_period_us")
        if allowed_us and period_us and int(allowed_us) > 0:
            limits.append(int(allowed_us) / int(period_us))
    return min(limits) if limits else None


def _v2_folders(root: Path) -> list[Path]:
    return _upwards(root / "sys/fs/cgroup", _membership(root, ""))


def _v1_folders(root: Path) -> list[Path]:
    for mount in ("cpu", "cpu,cpuacct"):
        top = root / "sys/fs/cgroup" / mount
        if top.is_dir():
            return _upwards(top, _membership(root, "cpu"))
    return []


def _upwards(top: Path, membership: str) -> list[Path]:
    """The cgroup's folder and those above it. In a container the path may be the host's: then only
    the top is there."""
    folder = top / membership.strip("/")
    parts = [folder, *folder.parents]
    return [part for part in parts if part.is_dir() and (part == top or top in part.parents)]


def _membership(root: Path, controller: str) -> str:
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return path
    return "/"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
