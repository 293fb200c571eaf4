"""On which platform is this process? Every signal is kept, and none of them is secret.

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
from mnist_gpu.measure import virtualisation
from mnist_gpu.records.signals import FRONTENDS, Detection, names_jetstream
from mnist_gpu.system import ROOT, text

METADATA = "http://169.254.169.254/openstack/latest/meta_data.json"
METADATA_WAIT_S = 1.0
OPENSTACK_NAMES = ("OpenStack Nova", "OpenStack Compute", "OpenStack Foundation")
# signals whose values are worth keeping and cannot be secret
SHOWN = {"KAGGLE_KERNEL_RUN_TYPE", "COLAB_RELEASE_TAG", "RUNNER_OS", "RUNNER_ARCH", "BUILD_DATE"}


def detect(
    environ: Mapping[str, str] | None = None,
    root: Path = ROOT,
    sysctl: Callable[[str], str | None] = system.sysctl,
    http_get: Callable[[str], str] | None = None,
) -> Detection:
    """Look at the environment, the hardware's own names and, only where these say OpenStack, at
    the cloud's metadata (waiting at most a second)."""
    environ = os.environ if environ is None else environ
    signals: dict[str, str] = {}
    front = _front(environ, root, signals)
    host, chip = _host(front, environ, root, sysctl, http_get or _http_get, signals)
    kind = virtualisation.kind(root, environ, sysctl)
    if kind:
        signals["virtualisation"] = kind
    if environ.get("GITHUB_ACTIONS") == "true":
        signals["ci"] = "github"
    name = next((word for word in (host, front) if word != "none"), platform.system().lower())
    return Detection(name or "unknown", front, host, chip, signals)


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


def _host(
    front: str,
    environ: Mapping[str, str],
    root: Path,
    sysctl: Callable[[str], str | None],
    http_get: Callable[[str], str],
    signals: dict[str, str],
) -> tuple[str, str]:
    brand = sysctl("machdep.cpu.brand_string") or ""
    if brand:
        signals["chip"] = brand[:100]
        if sysctl("sysctl.proc_translated") == "1":
            signals["rosetta"] = "this Python is translated: not native arm64"
        return "apple", brand
    if front in ("kaggle", "colab"):
        return front, ""
    dmi = root / "sys/class/dmi/id"
    seen = [text(dmi / name) for name in ("product_name", "chassis_asset_tag", "sys_vendor")]
    named = [name for name in seen if name in OPENSTACK_NAMES]
    if not named:
        return "none", ""
    signals["dmi"] = named[0]
    return ("jetstream" if _is_jetstream(http_get, signals) else "openstack"), ""


def _is_jetstream(http_get: Callable[[str], str], signals: dict[str, str]) -> bool:
    """Metadata names no cloud; Jetstream2's availability zone and our launcher's property do."""
    try:
        found = json.loads(http_get(METADATA))
        meta = found.get("meta") or {}
        flavor = str(meta.get("mnist_gpu_flavor", ""))[:40]
    except (OSError, ValueError, AttributeError):
        signals["openstack_metadata"] = "no answer"
        return False
    if flavor:
        signals["flavor"] = flavor
    cloud = str(meta.get("mnist_gpu_cloud", ""))[:40]
    if cloud:
        signals["cloud"] = cloud
    return names_jetstream(cloud, flavor)


def _http_get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=METADATA_WAIT_S) as answer:  # noqa: S310
        body: str = answer.read(100_000).decode()
        return body
