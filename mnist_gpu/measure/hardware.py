"""What the run ran on, without a word on whose machine it is."""

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from mnist_gpu.engines.base import EngineFacts
from mnist_gpu.measure import cpus, gpus
from mnist_gpu.results.record import Hardware

GIB = 1024**3
ROOT = Path("/")


def read(facts: EngineFacts, root: Path = ROOT, gpu: gpus.Gpu | None = None) -> Hardware:
    """The hardware part of the record.

    Args:
        facts: what the engine says of its accelerator.
        root: where `/proc` and `/sys` are.
        gpu: the GPU's management interface; found if the engine ran on CUDA.
    """
    if gpu is None and facts.accelerator in ("cuda", "gpu"):
        gpu = gpus.find(dict(os.environ))
    readings: dict[str, Any] = {
        "cpu_model": cpu_model(root),
        "ram_gib": ram_gib(root),
        "driver": gpu.driver() if gpu else None,
        "power_limit_w": gpu.power_limit_w() if gpu else None,
        "virtualisation": virtualisation(root),
    }
    hidden = "no NVIDIA management library or device" if gpu is None else "hidden by the driver"
    reasons = {
        "cpu_model": "not stated by the system",
        "ram_gib": "not stated by the system",
        "driver": hidden,
        "power_limit_w": hidden,
        "virtualisation": "no sign of any",
    }
    return Hardware(
        logical_cpus=len(cpus.allowed(root)),
        physical_cores=cpus.physical_cores(root),
        cpu_quota=cpus.quota(root),
        threads=cpus.threads(root),
        accelerator=facts.accelerator,
        # a processor has no other name than its model
        accelerator_name=readings["cpu_model"]
        if facts.accelerator == "cpu"
        else facts.accelerator_name,
        accelerator_count=facts.accelerator_count,
        reasons={name: reasons[name] for name, value in readings.items() if value is None},
        **readings,
    )


def cpu_model(root: Path = ROOT) -> str | None:
    """The processor's own name."""
    for line in _text(root / "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model", "Hardware") and value.strip():
            return value.strip()
    return sysctl("machdep.cpu.brand_string") or platform.processor() or None


def ram_gib(root: Path = ROOT) -> float | None:
    """Memory of the machine, or of the cgroup where that is less."""
    limits = []
    for line in _text(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            limits.append(int(line.split()[1]) * 1024)
    for path in ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"):
        text = _text(root / path)
        if text.isdigit():
            limits.append(int(text))
    if not limits:
        import psutil

        limits.append(psutil.virtual_memory().total)
    return round(min(limits) / GIB, 2)


def virtualisation(root: Path = ROOT) -> str | None:
    """The kind of container or virtual machine, such as `docker` or `QEMU`; None on bare metal."""
    if (root / ".dockerenv").exists():
        return "docker"
    if (root / "run/.containerenv").exists():
        return "podman"
    if "kubepods" in _text(root / "proc/1/cgroup"):
        return "kubernetes"
    vendor = _text(root / "sys/class/dmi/id/sys_vendor")
    product = _text(root / "sys/class/dmi/id/product_name")
    for word in ("QEMU", "OpenStack", "Amazon EC2", "Google", "VMware", "VirtualBox", "Xen", "KVM"):
        if word in vendor or word in product:
            return word
    flags = _text(root / "proc/cpuinfo")
    return "virtual machine" if " hypervisor" in flags else None


def sysctl(name: str) -> str | None:
    """One of macOS' system values; None elsewhere."""
    if platform.system() != "Darwin":
        return None
    try:
        done = subprocess.run(
            ["/usr/sbin/sysctl", "-n", name], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
