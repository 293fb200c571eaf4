"""NVIDIA GPUs: is there one, can this PyTorch use it, and is it free?"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from packaging.version import Version

from mnist_gpu.checks.finding import Finding, found, known
from mnist_gpu.checks.machine import Machine
from mnist_gpu.checks.software import fits
from mnist_gpu.measure.gpus import Gpu
from mnist_gpu.system import text

NVIDIA = "0x10de"
DISPLAY = "0x03"  # the PCI class of all that may draw, GPUs that only compute included
BUSY_PERCENT = 10
LEAST_FREE_MIB = 2048


def gpu(machine: Machine) -> Iterator[Finding]:
    """Is there a GPU, and does its driver answer?"""
    if machine.mac or not machine.wants("cuda"):
        return
    card, why = machine.gpu
    visible = machine.environ.get("CUDA_VISIBLE_DEVICES")
    if card is not None:
        name = card.read("name") or "An NVIDIA GPU"
        yield found("gpu", gpu=name, driver=card.read("driver") or "unknown")
        if "GRID" in name or "MIG" in name or (visible or "").startswith("MIG-"):
            yield found("gpu_share", gpu=name)
    elif "mismatch" in why:
        yield found("gpu_driver_replaced")
    elif visible is not None and visible.split(",")[0].strip() in ("", "-1"):
        if _on_bus(machine) or machine.asks_for("cuda"):
            yield found("gpu_hidden", "fail" if machine.asks_for("cuda") else None)
    elif smi := machine.run("nvidia-smi", "--query-gpu=name", "--format=csv,noheader"):
        name = smi.splitlines()[0]
        yield found("gpu_unread", gpu=name, why=why.removeprefix("NVML: "))
    elif _on_bus(machine):
        yield found("gpu_without_driver")
    elif machine.asks_for("cuda"):
        yield found("gpu_missing", platform=machine.platform["name"])


def torch_build(machine: Machine) -> Iterator[Finding]:
    """Do PyTorch, the driver and the GPU fit each other?"""
    card, _ = machine.gpu if machine.pytorch and machine.wants("cuda") else (None, "")
    version = machine.version("torch")
    if card is None or version is None:
        return
    cuda = _cuda_of_torch(machine)
    if cuda is None:
        yield found("torch_without_cuda", version=version)
        return
    row = next((row for row in known("torch")["cuda"] if row["cuda"] == int(float(cuda))), None)
    faults = [*_driver(card, cuda, row), *_capability(card, version, row)] if row else []
    yield from faults or [found("torch_fits", version=version, cuda=cuda)]


def load(machine: Machine) -> Iterator[Finding]:
    """Does anything else use the GPU, and is it held back?"""
    card, _ = machine.gpu if machine.wants("cuda") else (None, "")
    if card is None:
        return
    busy, free_mib = card.read("gpu_percent"), card.read("gpu_memory_free_mib")
    programs = len(card.read("processes") or [])
    seen = []
    if busy is not None and busy > BUSY_PERCENT:
        seen.append(f"it is {busy:.0f} % busy")
    if programs:
        seen.append(f"{programs} other program{'s compute' if programs > 1 else ' computes'} on it")
    if free_mib is not None and free_mib < LEAST_FREE_MIB:
        seen.append(f"only {free_mib:.0f} MiB of its memory are free")
    if seen:
        yield found("gpu_busy", seen=" and ".join(seen))
    elif busy is not None:
        yield found("gpu_idle")
    if card.read("slowed"):
        yield found("gpu_slowed")


def _cuda_of_torch(machine: Machine) -> str | None:
    """The CUDA release that the installed PyTorch is built with, read from its source."""
    package = machine.distribution("torch")
    source = text(Path(str(package.locate_file("torch/version.py")))) if package else ""
    stated = re.search(r"^cuda\b[^=]*= '([\d.]+)'", source, re.MULTILINE)
    return stated[1] if stated else None


def _driver(card: Gpu, cuda: str, row: dict[str, Any]) -> Iterator[Finding]:
    stated, newest = card.read("driver"), card.read("cuda")
    # compatibility packages let a newer CUDA run on an old driver
    compatible = newest is not None and newest >= row["cuda"]
    if stated is None or compatible or Version(stated) >= Version(row["driver"]):
        return
    instead = _older_torch(lambda row: Version(stated) >= Version(row["driver"]))
    yield found("driver_too_old", driver=stated, cuda=cuda, needs=row["driver"], instead=instead)


def _capability(card: Gpu, version: str, row: dict[str, Any]) -> Iterator[Finding]:
    capability = card.read("capability")
    # builds with CUDA 12 from elsewhere than PyPI may hold code for older GPUs
    covered = row["cuda"] > 12 or ("+" not in version and fits(version, row["torch"]))
    if capability is None or not covered or capability >= row["capability"]:
        return
    instead = _older_torch(lambda row: capability >= row["capability"])
    words = {"capability": capability, "version": version, "needs": row["capability"]}
    yield found("gpu_too_old", instead=instead, **words)


def _older_torch(fitting: Callable[[dict[str, Any]], bool]) -> str:
    """Which PyTorch to take instead, if one is known to fit."""
    versions = [row["torch"] for row in known("torch")["cuda"] if fitting(row)]
    return f', or take an older PyTorch (pip install "torch{versions[0]}")' if versions else ""


def _on_bus(machine: Machine) -> bool:
    """Whether a GPU of NVIDIA's is plugged in, with a driver or without."""
    return any(
        text(device / "vendor") == NVIDIA and text(device / "class").startswith(DISPLAY)
        for device in (machine.root / "sys/bus/pci/devices").glob("*")
    )
