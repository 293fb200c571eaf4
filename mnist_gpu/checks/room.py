"""Room: memory, disk, folders to write to, and the data set."""

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mnist_gpu.checks.finding import Finding, found
from mnist_gpu.checks.machine import Machine
from mnist_gpu.data import mnist
from mnist_gpu.errors import UserError
from mnist_gpu.measure import cgroup
from mnist_gpu.system import text

MIB, GIB = 1024**2, 1024**3
# standard runs were seen to need up to 1.9 GiB
MEMORY_GIB, LEAST_MEMORY_GIB = 2.0, 1.0
# two checkpoints, the weights and the record of a run are about 50 MiB
DISK_MIB, LEAST_DISK_MIB = 500, 100
# what containers have unless told otherwise
SHARED_MIB = 64


def memory(machine: Machine) -> Iterator[Finding]:
    """Is there enough memory left?"""
    free_bytes = cgroup.memory_free_bytes(machine.root)
    if free_bytes is not None:
        free = free_bytes / GIB
        status = "fail" if free < LEAST_MEMORY_GIB else None
        short = free < MEMORY_GIB
        yield found("memory_short" if short else "memory", status, gib=f"{free:.1f}")


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
    named = machine.environ.get("MNIST_GPU_DATA")
    folder = Path(named).expanduser() if named else machine.cache / "mnist"
    try:
        mnist.load(folder)
    except (UserError, OSError) as exc:
        if named:
            mend = "Put the four published files there, or unset MNIST_GPU_DATA."
            yield found("mnist_damaged", fault=str(exc), mend=mend)
        else:
            # what is missing or damaged in the cache is fetched again
            yield _within_reach(machine)
    else:
        yield found("mnist", folder=folder)


def _within_reach(machine: Machine) -> Finding:
    if any(machine.answers(f"{url}train-labels-idx1-ubyte.gz") for url in _mirrors(machine)):
        return found("mnist_within_reach")
    return found("mnist_npm" if machine.run("npm", "--version") else "mnist_out_of_reach")


def _folder(machine: Machine, name: str, folder: Path) -> Iterator[Finding]:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    why = _cannot_write(existing)
    if why:
        yield found(f"{name}_closed", folder=folder, why=why)
        return
    free_mib = machine.disk_usage(existing).free / MIB
    words = {"folder": folder, "mib": f"{free_mib:.0f}", "gib": f"{free_mib / 1024:.0f}"}
    status = "fail" if free_mib < LEAST_DISK_MIB else None
    yield found(f"{name}_full" if free_mib < DISK_MIB else name, status, **words)


def _mirrors(machine: Machine) -> list[str]:
    """Where torchvision would look, read from its source."""
    package = machine.distribution("torchvision")
    path = package.locate_file("torchvision/datasets/mnist.py") if package else ""
    stated = re.search(r"mirrors = \[(.*?)\]", text(Path(str(path))), re.DOTALL)
    return re.findall(r'"(https?://[^"]+)"', stated[1]) if stated else []


def _cannot_write(folder: Path) -> str:
    """Why nothing can be written; empty where it can. What is tried leaves nothing behind."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(os.urandom(4096))
            file.flush()
    except OSError as exc:
        return (exc.strerror or type(exc).__name__).lower()
    return ""
