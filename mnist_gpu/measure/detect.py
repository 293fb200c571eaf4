"""On which platform is this process, and in which containers and virtual machines? Every signal is
kept, and none of them is secret.

A platform's file says in `detect` what must hold (docs/platforms/adding.md), and `measure.signals`
whether it does.
"""

import json
import os
import platform
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from mnist_gpu import system
from mnist_gpu.measure.cpus import Sysctl
from mnist_gpu.measure.signals import FRONTENDS, Detection, from_signals
from mnist_gpu.paths import packaged
from mnist_gpu.system import ROOT, output_of, plain, text

METADATA_WAIT_S = 1.0
FIRMWARE = "sys/class/dmi/id"


def detect(
    environ: Mapping[str, str] = os.environ,
    root: Path = ROOT,
    sysctl: Sysctl = system.sysctl,
    http_get: Callable[[str], str] | None = None,
) -> Detection:
    """Look at the environment, the hardware's own names and, only where these say OpenStack, at
    the cloud's metadata (waiting at most a second)."""
    # of the others only that they are there: a value may be a token or a name
    shown = packaged("measure/data/places")["shown"]
    known = [name for names in FRONTENDS.values() for name in names if environ.get(name)]
    signals = {name: environ[name][:100] if name in shown else "set" for name in known}
    if brand := sysctl("machdep.cpu.brand_string"):
        signals["chip"] = brand[:100]
        if sysctl("sysctl.proc_translated") == "1":
            signals["rosetta"] = "this Python is translated: not native arm64"
    elif from_signals(signals).host == "none":
        # asked last, since only this may take a while
        signals |= _openstack(root, http_get or _http_get)
    if kind := virtualisation(root, environ, sysctl):
        signals["virtualisation"] = kind
    if environ.get("GITHUB_ACTIONS") == "true":
        signals["ci"] = "github"
    found = from_signals(signals)
    system_name = platform.system().lower() or "unknown"
    return replace(found, name=system_name) if found.name == "none" else found


def virtualisation(
    root: Path = ROOT, environ: Mapping[str, str] = os.environ, sysctl: Sysctl = system.sysctl
) -> str | None:
    """Such as `docker, QEMU`: the container, then the virtual machine around it; None on bare
    metal."""
    found = [_container(root, environ), virtual_machine(root, sysctl)]
    return ", ".join(word for word in found if word) or None


def _container(root: Path, environ: Mapping[str, str]) -> str | None:
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
    hypervisors = packaged("measure/data/places")["hypervisors"].items()
    hidden = "virtual machine" if " hypervisor" in text(root / "proc/cpuinfo") else None
    found = next((kind for name, kind in hypervisors if name in names), None)
    return found or _systemd("--vm", root) or hidden


def _systemd(kind: str, root: Path) -> str | None:
    """What systemd-detect-virt says, which knows more traces than these, where it is installed."""
    said = output_of("systemd-detect-virt", kind) if root == ROOT else None
    return None if said in (None, "", "none") else plain(said)


def _openstack(root: Path, http_get: Callable[[str], str]) -> dict[str, str]:
    """The signals of a virtual machine of OpenStack's. The metadata names no cloud; Jetstream2's
    availability zone and our launcher's property do."""
    seen = [text(root / FIRMWARE / f) for f in ("product_name", "chassis_asset_tag", "sys_vendor")]
    places = packaged("measure/data/places")
    named = [name for name in seen if name in places["openstack"]]
    if not named:
        return {}
    try:
        meta = json.loads(http_get(places["metadata"])).get("meta") or {}
        marks = {key: str(meta.get(f"mnist_gpu_{key}", ""))[:40] for key in ("flavor", "cloud")}
    except (OSError, ValueError, AttributeError):
        return {"dmi": named[0], "openstack_metadata": "no answer"}
    return {"dmi": named[0], **{key: mark for key, mark in marks.items() if mark}}


def _http_get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=METADATA_WAIT_S) as answer:  # noqa: S310
        return str(answer.read(100_000).decode())
