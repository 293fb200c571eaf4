"""In which containers and virtual machines does this process run?"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from mnist_gpu import system
from mnist_gpu.system import ROOT, output_of, plain, text

# as they stand in the firmware's vendor or product name
HYPERVISORS = (
    "OpenStack",
    "Amazon EC2",
    "Google Compute Engine",
    "VMware",
    "VirtualBox",
    "Parallels",
    "Virtual Machine",
    "QEMU",
    "KVM",
    "Xen",
)


def kind(
    root: Path = ROOT,
    environ: Mapping[str, str] | None = None,
    sysctl: Callable[[str], str | None] = system.sysctl,
) -> str | None:
    """Such as `docker, QEMU`: the container, then the virtual machine around it; None on bare
    metal."""
    found = [container(root, environ), machine(root, sysctl)]
    return ", ".join(word for word in found if word) or None


def container(root: Path = ROOT, environ: Mapping[str, str] | None = None) -> str | None:
    """The kind of container, None outside one."""
    environ = os.environ if environ is None else environ
    groups = text(root / "proc/1/cgroup") + text(root / "proc/self/cgroup")
    if environ.get("KUBERNETES_SERVICE_HOST") or "kubepods" in groups:
        return "kubernetes"
    if (root / ".singularity.d").is_dir():
        return "apptainer"
    if (root / ".dockerenv").exists() or "/docker" in groups:
        return "docker"
    if (root / "run/.containerenv").exists():
        return "podman"
    # written by systemd-nspawn, LXC and others
    return plain(text(root / "run/systemd/container")) or _systemd("--container", root)


def machine(root: Path = ROOT, sysctl: Callable[[str], str | None] = system.sysctl) -> str | None:
    """The kind of virtual machine, None on bare metal."""
    if sysctl("kern.hv_vmm_present") == "1":
        return "Apple Virtualization"
    if "microsoft" in text(root / "proc/sys/kernel/osrelease").lower():
        return "WSL"
    firmware = root / "sys/class/dmi/id"
    names = f"{text(firmware / 'sys_vendor')} {text(firmware / 'product_name')}"
    if ".metal" in names:  # Amazon's machines without a hypervisor
        return None
    for name in HYPERVISORS:
        if name in names:
            return "Hyper-V" if name == "Virtual Machine" else name
    hidden = "virtual machine" if " hypervisor" in text(root / "proc/cpuinfo") else None
    return _systemd("--vm", root) or hidden


def _systemd(kind: str, root: Path) -> str | None:
    """What systemd-detect-virt says, which knows more traces than these, where it is installed."""
    if root != ROOT:
        return None
    said = output_of("systemd-detect-virt", kind)
    return None if said in (None, "", "none") else plain(said)
