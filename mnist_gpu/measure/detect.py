"""On which platform is this process, and in which containers and virtual machines? Every signal is
kept, and none of them is secret.

A platform's file (`conf/platform/<name>.yaml`) says in `detect` what must hold for a run to be
verified there, each key optional:

    detect: {frontend: jupyterhub}   what started it: kaggle, colab, jupyterhub, slurm, none
    detect: {host: jetstream}        where: kaggle, colab, openstack, jetstream, apple, none
    detect: {chip: Apple M1}         the processor's brand, exactly
    detect: {gpu_contains: T4}       part of the accelerator's own name
    detect: {}                       any machine
    detect: null                     never verified, never chosen

`platform=auto` takes the platform whose rule holds and asks for most.
"""

import json
import os
import platform
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

from mnist_gpu import system
from mnist_gpu.measure.signals import FRONTENDS, Detection, names_jetstream
from mnist_gpu.system import ROOT, output_of, plain, text

METADATA = "http://169.254.169.254/openstack/latest/meta_data.json"
METADATA_WAIT_S = 1.0
OPENSTACK_NAMES = ("OpenStack Nova", "OpenStack Compute", "OpenStack Foundation")
# signals whose values are worth keeping and cannot be secret
SHOWN = {"KAGGLE_KERNEL_RUN_TYPE", "COLAB_RELEASE_TAG", "RUNNER_OS", "RUNNER_ARCH", "BUILD_DATE"}
# as they stand in the firmware's vendor or product name; the first that is found counts
HYPERVISORS = (
    "OpenStack", "Amazon EC2", "Google Compute Engine", "VMware", "VirtualBox", "Parallels",
    "Virtual Machine", "QEMU", "KVM", "Xen",
)  # fmt: skip
FIRMWARE = "sys/class/dmi/id"

Sysctl = Callable[[str], str | None]


def detect(
    environ: Mapping[str, str] | None = None,
    root: Path = ROOT,
    sysctl: Sysctl = system.sysctl,
    http_get: Callable[[str], str] | None = None,
) -> Detection:
    """Look at the environment, the hardware's own names and, only where these say OpenStack, at
    the cloud's metadata (waiting at most a second)."""
    environ = os.environ if environ is None else environ
    signals: dict[str, str] = {}
    front = _front(environ, root, signals)
    brand = sysctl("machdep.cpu.brand_string") or ""
    if brand:
        host = "apple"
        signals["chip"] = brand[:100]
        if sysctl("sysctl.proc_translated") == "1":
            signals["rosetta"] = "this Python is translated: not native arm64"
    elif front in ("kaggle", "colab"):
        host = front
    else:
        host = _cloud(root, http_get or _http_get, signals)
    if kind := virtualisation(root, environ, sysctl):
        signals["virtualisation"] = kind
    if environ.get("GITHUB_ACTIONS") == "true":
        signals["ci"] = "github"
    name = next((word for word in (host, front) if word != "none"), platform.system().lower())
    return Detection(name or "unknown", front, host, brand, signals)


def virtualisation(
    root: Path = ROOT,
    environ: Mapping[str, str] | None = None,
    sysctl: Sysctl = system.sysctl,
) -> str | None:
    """Such as `docker, QEMU`: the container, then the virtual machine around it; None on bare
    metal."""
    found = [container(root, environ), virtual_machine(root, sysctl)]
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


def virtual_machine(root: Path = ROOT, sysctl: Sysctl = system.sysctl) -> str | None:
    """The kind of virtual machine, None on bare metal."""
    if sysctl("kern.hv_vmm_present") == "1":
        return "Apple Virtualization"
    if "microsoft" in text(root / "proc/sys/kernel/osrelease").lower():
        return "WSL"
    names = " ".join(text(root / FIRMWARE / name) for name in ("sys_vendor", "product_name"))
    if ".metal" in names:  # Amazon's machines without a hypervisor
        return None
    if found := next((name for name in HYPERVISORS if name in names), None):
        return "Hyper-V" if found == "Virtual Machine" else found
    hidden = "virtual machine" if " hypervisor" in text(root / "proc/cpuinfo") else None
    return _systemd("--vm", root) or hidden


def _systemd(kind: str, root: Path) -> str | None:
    """What systemd-detect-virt says, which knows more traces than these, where it is installed."""
    said = output_of("systemd-detect-virt", kind) if root == ROOT else None
    return None if said in (None, "", "none") else plain(said)


def _front(environ: Mapping[str, str], root: Path, signals: dict[str, str]) -> str:
    found = "none"
    for front, variables in FRONTENDS.items():
        present = [name for name in variables if environ.get(name)]
        for name in present:
            signals[name] = environ[name][:100] if name in SHOWN else "set"
        if present and found == "none":
            found = front
    if found == "kaggle" and (root / "kaggle/working").is_dir():
        signals["kaggle_working"] = "present"
    return found


def _cloud(root: Path, http_get: Callable[[str], str], signals: dict[str, str]) -> str:
    """`jetstream`, `openstack` or `none`. The metadata names no cloud; Jetstream2's availability
    zone and our launcher's property do."""
    seen = [text(root / FIRMWARE / f) for f in ("product_name", "chassis_asset_tag", "sys_vendor")]
    named = [name for name in seen if name in OPENSTACK_NAMES]
    if not named:
        return "none"
    signals["dmi"] = named[0]
    try:
        meta = json.loads(http_get(METADATA)).get("meta") or {}
        marks = {key: str(meta.get(f"mnist_gpu_{key}", ""))[:40] for key in ("flavor", "cloud")}
    except (OSError, ValueError, AttributeError):
        signals["openstack_metadata"] = "no answer"
        return "openstack"
    signals |= {key: mark for key, mark in marks.items() if mark}
    return "jetstream" if names_jetstream(marks["cloud"], marks["flavor"]) else "openstack"


def _http_get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=METADATA_WAIT_S) as answer:  # noqa: S310
        body: str = answer.read(100_000).decode()
        return body
