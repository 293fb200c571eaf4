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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mnist_gpu.measure import sources, virtualisation
from mnist_gpu.measure.sources import ROOT, text

METADATA = "http://169.254.169.254/openstack/latest/meta_data.json"
METADATA_WAIT_S = 1.0
OPENSTACK_NAMES = ("OpenStack Nova", "OpenStack Compute", "OpenStack Foundation")
# signals whose values are worth keeping and cannot be secret
SHOWN = {"KAGGLE_KERNEL_RUN_TYPE", "COLAB_RELEASE_TAG", "RUNNER_OS", "RUNNER_ARCH", "BUILD_DATE"}
RULE_KEYS = {"frontend", "host", "chip", "gpu_contains"}
# Kaggle before Colab: Kaggle's images are built from Colab's and carry its release tag
FRONTENDS = {
    "kaggle": ("KAGGLE_KERNEL_RUN_TYPE", "KAGGLE_URL_BASE"),
    "colab": ("COLAB_RELEASE_TAG", "COLAB_BACKEND_URL"),
    "jupyterhub": ("JUPYTERHUB_USER", "JUPYTERHUB_API_URL"),
    "slurm": ("SLURM_JOB_ID",),
}
HOSTS = ("apple", "jetstream", "openstack")


@dataclass(frozen=True)
class Detection:
    """What was found.

    Attributes:
        name: in one word: the host if it is a known one, else the front, else the kind of machine.
        front: what started the process.
        host: what it runs on.
        chip: the processor's brand on Apple hardware, else empty.
        signals: everything that was seen, by name.
    """

    name: str
    front: str
    host: str
    chip: str = ""
    signals: dict[str, str] = field(default_factory=dict)


def detect(
    environ: Mapping[str, str] | None = None,
    root: Path = ROOT,
    sysctl: Callable[[str], str | None] = sources.sysctl,
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


def from_signals(signals: Mapping[str, str]) -> Detection:
    """What a record's signals speak for; its name is `none` where only the machine's own system
    would be one."""
    seen = (front for front, names in FRONTENDS.items() if any(name in signals for name in names))
    front, host, chip = next(seen, "none"), "none", signals.get("chip", "")
    if chip:
        host = "apple"
    elif front in ("kaggle", "colab"):
        host = front
    elif "dmi" in signals:
        known = _names_jetstream(signals.get("cloud", ""), signals.get("flavor", ""))
        host = "jetstream" if known else "openstack"
    name = host if host != "none" else front
    return Detection(name, front, host, chip, dict(signals))


def matches(
    rule: Mapping[str, Any] | None, detection: Detection, accelerator_name: str | None
) -> bool:
    """Whether what was found is what a platform's `detect` asks for."""
    if rule is None or set(rule) - RULE_KEYS:
        return False
    checks = {
        "frontend": detection.front,
        "host": detection.host,
        "chip": detection.chip,
    }
    for key, wanted in rule.items():
        if key == "gpu_contains":
            if str(wanted).lower() not in (accelerator_name or "").lower():
                return False
        elif checks.get(key) != wanted:
            return False
    return True


def choose(rules: Mapping[str, Mapping[str, Any] | None], detection: Detection) -> str | None:
    """The platform whose rule holds and asks for most, without looking at the accelerator; by name
    where two ask for as much. None if none holds."""
    fitting = [
        (-len(rule), name)
        for name, rule in rules.items()
        if rule is not None and "gpu_contains" not in rule and matches(rule, detection, None)
    ]
    return min(fitting)[1] if fitting else None


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
    return _names_jetstream(cloud, flavor)


def _names_jetstream(cloud: str, flavor: str) -> bool:
    return cloud == "jetstream2" or flavor.startswith(("g3.", "g4.", "g5.", "m3."))


def _http_get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=METADATA_WAIT_S) as answer:  # noqa: S310
        body: str = answer.read(100_000).decode()
        return body
