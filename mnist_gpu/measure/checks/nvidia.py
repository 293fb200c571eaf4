"""NVIDIA GPUs: whether there is one, and whether this PyTorch can use it."""

import re
from collections.abc import Iterator
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from mnist_gpu.measure.checks.finding import Finding, fail, ok, warn
from mnist_gpu.measure.checks.machine import Machine, known
from mnist_gpu.measure.gpus import Gpu
from mnist_gpu.measure.sources import text

NVIDIA = "0x10de"
DISPLAY = "0x03"  # the PCI class of anything that may draw, GPUs for computing included
BUSY_PERCENT = 10
LEAST_FREE_MIB = 2048
PYTORCH_ENGINES = ("lightning", "torch")


def gpu(machine: Machine) -> Iterator[Finding]:
    """Is there a GPU, and does its driver answer?"""
    if machine.mac or not machine.wants("cuda"):
        return
    card, why = machine.gpu
    hidden = machine.environ.get("CUDA_VISIBLE_DEVICES")
    asked = machine.platform.get("accelerator") == "cuda"
    if card is not None:
        name = card.name() or _by_smi(machine, "name") or "one that does not say its name"
        yield ok("NVIDIA GPU", f"{name}, driver {card.driver() or 'unknown'}.")
        yield from _shared(name, machine)
    elif "mismatch" in why:
        yield fail(
            "NVIDIA GPU",
            "The driver was updated, but the old one still runs.",
            "No program can use the GPU.",
            "Restart the machine.",
        )
    elif smi := _by_smi(machine, "name"):
        yield warn(
            "NVIDIA GPU",
            f"{smi} is there, but its readings are not: {why.removeprefix('NVML: ')}.",
            "Load, heat and energy of the GPU are not recorded.",
            "pip install nvidia-ml-py",
        )
    elif hidden is not None and hidden.split(",")[0].strip() in ("", "-1") and _on_bus(machine):
        yield (fail if asked else warn)(
            "NVIDIA GPU",
            "There is a GPU, but the variable CUDA_VISIBLE_DEVICES hides it.",
            "A run trains on the processor.",
            "unset CUDA_VISIBLE_DEVICES",
        )
    elif _on_bus(machine):
        yield fail(
            "NVIDIA GPU",
            "There is a GPU, but no driver answers for it.",
            "A run trains on the processor, many times slower.",
            "Install NVIDIA's driver and restart; in a container, start it with access to the"
            " GPU (docker run --gpus all).",
        )
    elif asked:
        yield fail(
            "NVIDIA GPU",
            "No NVIDIA GPU is to be seen here.",
            f"A run with platform={machine.platform['name']} cannot begin.",
            "Choose a session or a machine with a GPU, or run with platform=cpu.",
        )


def torch_build(machine: Machine) -> Iterator[Finding]:
    """Do this PyTorch, the driver and the GPU fit each other?"""
    card, _ = machine.gpu
    version = machine.version("torch")
    if card is None or version is None or machine.engine not in PYTORCH_ENGINES:
        return
    if not machine.wants("cuda"):
        return
    cuda, hip = cuda_of_torch(machine)
    if cuda is None:
        if not hip:
            yield fail(
                "PyTorch for the GPU",
                f"PyTorch {version} was built without CUDA, for processors only.",
                "The GPU stands idle and a run trains on the processor, many times slower.",
                "Reinstall PyTorch with CUDA: pytorch.org, Get Started, shows the command.",
            )
        return
    row = next((row for row in known("torch")["cuda"] if row["cuda"] == int(float(cuda))), None)
    faults = [] if row is None else [*_driver(card, cuda, row), *_capability(card, version, row)]
    yield from faults or [
        ok("PyTorch for the GPU", f"PyTorch {version} with CUDA {cuda} fits the driver.")
    ]


def gpu_load(machine: Machine) -> Iterator[Finding]:
    """Does anything else use the GPU, and is it held back?"""
    card, _ = machine.gpu
    if card is None or not machine.wants("cuda"):
        return
    others, busy = card.processes(), card.busy_percent()
    free_mib = card.memory_free_mib()
    seen = []
    if busy is not None and busy > BUSY_PERCENT:
        seen.append(f"it is {busy:.0f} % busy")
    if others:
        seen.append(f"other programs compute on it: {others}")
    if free_mib is not None and free_mib < LEAST_FREE_MIB:
        seen.append(f"only {free_mib:.0f} MiB of its memory are free")
    if seen:
        yield warn(
            "Load on the GPU",
            f"Before the run has begun, {' and '.join(seen)}.",
            "The run is slower, and its time says little about the GPU.",
            "End the other programs (nvidia-smi lists them), or wait for them.",
        )
    elif busy is not None:
        yield ok("Load on the GPU", "Nothing else uses it.")
    if card.slowed():
        yield warn(
            "Heat of the GPU",
            "Heat or too little power holds the GPU's clock down at this moment.",
            "The run is slower than the GPU can be.",
            "Let it cool down; see that air reaches it and that its power cables sit firmly.",
        )


def cuda_of_torch(machine: Machine) -> tuple[str | None, bool]:
    """The CUDA release that the installed PyTorch was built with, and whether for AMD instead."""
    package = machine.distribution("torch")
    source = text(package.locate_file("torch/version.py")) if package else ""  # type: ignore[arg-type]
    stated = dict(re.findall(r"^(cuda|hip)\b[^=]*= '([\d.]+)[^']*'", source, re.MULTILINE))
    return stated.get("cuda"), "hip" in stated


def _driver(card: Gpu, cuda: str, row: dict[str, Any]) -> Iterator[Finding]:
    stated = card.driver()
    newest = card.cuda_major()
    if stated is None or (newest is not None and newest >= row["cuda"]):
        return
    try:
        if Version(stated) >= Version(row["driver"]):
            return
    except InvalidVersion:
        return
    yield fail(
        "Driver of the GPU",
        f"The driver is {stated}; CUDA {cuda}, which this PyTorch was built with, needs"
        f" {row['driver']} or newer.",
        "PyTorch does not find the GPU, and a run trains on the processor.",
        f"Update the driver{_older(lambda r: Version(stated) >= Version(r['driver']))}.",
    )


def _capability(card: Gpu, version: str, row: dict[str, Any]) -> Iterator[Finding]:
    capability = card.capability()
    # builds with CUDA 12 from elsewhere than PyPI may hold code for older GPUs
    covered = row["cuda"] > 12 or (
        "+" not in version and SpecifierSet(row["torch"]).contains(version, prereleases=True)
    )
    if capability is None or not covered or capability >= row["capability"]:
        return
    yield fail(
        "Age of the GPU",
        f"This GPU has compute capability {capability}; PyTorch {version} works from"
        f" {row['capability']} on.",
        "The first step of a run ends with an error.",
        f"Use a newer GPU{_older(lambda r: capability >= r['capability'])}, or platform=cpu.",
    )


def _older(fits: Any) -> str:
    """Which PyTorch to take instead, if one is known to fit."""
    versions = [row["torch"] for row in known("torch")["cuda"] if fits(row)]
    return f', or take an older PyTorch: pip install "torch{versions[0]}"' if versions else ""


def _shared(name: str, machine: Machine) -> Iterator[Finding]:
    visible = machine.environ.get("CUDA_VISIBLE_DEVICES", "")
    if "GRID" in name or "MIG" in name or visible.startswith("MIG-"):
        yield warn(
            "Share of the GPU",
            f"{name} is a part of a GPU that others use too.",
            "Its speed depends on the neighbours and may differ from run to run.",
            "For numbers to publish, take a whole GPU; otherwise make several runs.",
        )


def _on_bus(machine: Machine) -> bool:
    """Whether a GPU of NVIDIA's is plugged in, with a driver or without."""
    return any(
        text(device / "vendor") == NVIDIA and text(device / "class").startswith(DISPLAY)
        for device in (machine.root / "sys/bus/pci/devices").glob("*")
    )


def _by_smi(machine: Machine, field: str) -> str | None:
    said = machine.run("nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader")
    return said.splitlines()[0].strip() if said else None
