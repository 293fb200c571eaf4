"""Which process of a run this is, by what its starter left in the environment, and how old."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import psutil

StartedBy = Literal["nobody", "mnist-gpu", "torchrun", "slurm"]
MARK = "MNIST_GPU_RANKS"


class Rank(NamedTuple):
    """One process among those of its run."""

    number: int = 0  # over all machines
    local: int = 0  # on this machine
    world: int = 1  # how many there are
    started_by: StartedBy = "nobody"


def here(environ: Mapping[str, str] = os.environ) -> Rank:
    """Which process this is."""
    if environ.get(MARK) or environ.get("TORCHELASTIC_RUN_ID"):
        started_by: StartedBy = "mnist-gpu" if environ.get(MARK) else "torchrun"
        names = ("RANK", "LOCAL_RANK", "WORLD_SIZE")
    elif environ.get("SLURM_NTASKS", "1") != "1" and environ.get("SLURM_STEP_ID"):
        started_by, names = "slurm", ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS")
    else:
        return Rank()
    number, local, world = (int(environ.get(name, 0)) for name in names)
    return Rank(number, local, max(1, world), started_by)


def process_age_ns() -> int:
    """Nanoseconds since the operating system created this process: `startup_s` counts from then,
    imports included.

    Linux: start time in clock ticks since boot (proc(5), field 22), against `CLOCK_BOOTTIME`;
    psutil would take the wall clock, which may have been set since. Elsewhere: psutil.
    """
    stat = Path("/proc/self/stat")
    if stat.exists() and hasattr(time, "CLOCK_BOOTTIME"):
        started_ticks = int(stat.read_text().rpartition(")")[2].split()[19])
        started_ns = started_ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
        return max(0, time.clock_gettime_ns(time.CLOCK_BOOTTIME) - started_ns)
    return max(0, time.time_ns() - int(psutil.Process().create_time() * 1e9))
