"""How many CPUs this process may really use.

`os.cpu_count()` shows the host; affinity and the cgroup's quota say what is this process' own.
"""

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from mnist_gpu import system
from mnist_gpu.measure import cgroup
from mnist_gpu.system import ROOT, text

quota = cgroup.quota
Sysctl = Callable[[str], str | None]


def allowed(root: Path = ROOT) -> list[int]:
    """The logical CPUs the process may run on."""
    if root == ROOT and hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    for line in text(root / "proc/self/status").splitlines():
        if line.startswith("Cpus_allowed_list:"):
            return listed(line.partition(":")[2].strip())
    return list(range(os.cpu_count() or 1))


def physical_cores(root: Path = ROOT, sysctl: Sysctl = system.sysctl) -> int:
    """Physical cores among the allowed CPUs; hyper-threads of one core count once."""
    cpus = allowed(root)
    topology = root / "sys/devices/system/cpu"
    if topology.is_dir():
        siblings = (text(topology / f"cpu{cpu}/topology/thread_siblings_list") for cpu in cpus)
        return len({shared or str(cpu) for cpu, shared in zip(cpus, siblings, strict=True)})
    stated = sysctl("hw.physicalcpu")
    if stated is not None and stated.isdigit():
        return max(1, int(stated))
    try:
        import psutil

        cores = psutil.cpu_count(logical=False)
    except ImportError:
        cores = None
    return min(len(cpus), cores or len(cpus))


def threads(
    root: Path = ROOT,
    sysctl: Sysctl = system.sysctl,
    environ: Mapping[str, str] = os.environ,
) -> int:
    """Threads to compute with: those that `OMP_NUM_THREADS` asks for, else physical cores within
    affinity and quota, at least 1.

    On Apple silicon the performance cores only, as PyTorch does: the others would be waited for.
    """
    # a list says how many at each level of nesting
    asked = environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    fast = sysctl("hw.perflevel0.physicalcpu")
    cores = int(fast) if fast is not None and fast.isdigit() else physical_cores(root, sysctl)
    limit = quota(root)
    return max(1, cores if limit is None else min(cores, math.floor(limit)))


def listed(ranges: str) -> list[int]:
    """The kernel's `0-2,5` as [0, 1, 2, 5]; an empty text lists none."""
    found: list[int] = []
    for part in filter(None, ranges.split(",")):
        first, _, last = part.partition("-")
        found.extend(range(int(first), int(last or first) + 1))
    return found
