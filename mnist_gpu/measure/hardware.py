"""What the run ran on, without a word on whose machine it is."""

import os
import platform
from pathlib import Path
from typing import Any

from mnist_gpu.measure import cgroup, cpus, gpus, virtualisation
from mnist_gpu.protocol.workload import EngineFacts
from mnist_gpu.records.schema import Hardware
from mnist_gpu.system import ROOT, sysctl, text

GIB = 1024**3
VECTOR_SETS = ("avx512f", "avx2", "avx", "sse4_2", "sve", "asimd")  # the widest first


def read(facts: EngineFacts, root: Path = ROOT, gpu: gpus.Gpu | None = None) -> Hardware:
    """The hardware part of the record.

    Args:
        facts: what the engine says of its accelerator.
        root: where `/proc` and `/sys` are.
        gpu: the GPU's management interface; found if the engine ran on CUDA.
    """
    hidden = "no NVIDIA GPU in use"
    if gpu is None and facts.accelerator in ("cuda", "gpu"):
        gpu, hidden = gpus.find(os.environ, facts.accelerator_name)
    readings: dict[str, Any] = {
        "cpu_model": cpu_model(root),
        "ram_gib": ram_gib(root),
        "driver": gpu.read("driver") if gpu else None,
        "power_limit_w": gpu.read("power_limit_w") if gpu else None,
        "hypervisor": virtualisation.kind(root),
        "cpu_family_model_stepping": cpu_family_model_stepping(root),
        "isa": isa(root),
    }
    refused = gpu.refusals if gpu else {}
    reasons = {
        "cpu_model": "not stated by the system",
        "ram_gib": "not stated by the system",
        "driver": refused.get("driver", hidden),
        "power_limit_w": refused.get("power_limit_w", hidden),
        "hypervisor": "no sign of any",
        "cpu_family_model_stepping": "not stated by the system",
        "isa": "not stated by the system",
    }
    return Hardware(
        logical_cpus=len(cpus.allowed(root)),
        cores=cpus.physical_cores(root),
        cpu_quota=cpus.quota(root),
        threads=facts.threads or cpus.threads(root),
        accelerator=facts.accelerator,
        # a processor has no other name than its model
        accelerator_name=readings["cpu_model"]
        if facts.accelerator == "cpu"
        else facts.accelerator_name,
        accelerator_count=facts.accelerator_count,
        virtualised=virtualisation.machine(root) is not None,
        reasons={name: reasons[name] for name, value in readings.items() if value is None},
        **readings,
    )


def cpu_model(root: Path = ROOT) -> str | None:
    """The processor's own name."""
    for line in text(root / "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model", "Hardware") and value.strip():
            return value.strip()
    return sysctl("machdep.cpu.brand_string") or platform.processor() or None


def cpu_family_model_stepping(root: Path = ROOT) -> str | None:
    """How the processor numbers itself, such as `25/17/1` (x86 alone): names hide generations."""
    wanted = dict.fromkeys(("cpu family", "model", "stepping"), "")
    for line in text(root / "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in wanted:
            wanted[key.strip()] = value.strip()
    return "/".join(wanted.values()) if all(wanted.values()) else None


def isa(root: Path = ROOT) -> str | None:
    """The widest vector set of the processor, such as `avx512f`."""
    flags: set[str] = set()
    for line in text(root / "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            flags |= set(value.split())
    found = next((name for name in VECTOR_SETS if name in flags), None)
    return found or ("neon" if platform.machine() == "arm64" else None)


def ram_gib(root: Path = ROOT) -> float | None:
    """Memory of the machine, or of the cgroup where that is less."""
    limits = []
    for line in text(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            limits.append(int(line.split()[1]) * 1024)
    limit = cgroup.memory_limit_bytes(root)
    if limit is not None:
        limits.append(limit)
    if not limits:
        import psutil

        limits.append(psutil.virtual_memory().total)
    return round(min(limits) / GIB, 2)
