"""What a run ran on and with, without a word on whose machine it is."""

import hashlib
import os
import platform
import re
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from mnist_gpu.measure import cgroup, cpus, detect, gpus
from mnist_gpu.measure.readings import Hardware, Software
from mnist_gpu.paths import PACKAGE
from mnist_gpu.protocol.workload import EngineFacts
from mnist_gpu.system import ROOT, output_of, sysctl, text
from mnist_gpu.version import __version__

GIB = 1024**3
MODEL_KEYS = ("model name", "Model", "Hardware")
VECTOR_SETS = ("avx512f", "avx2", "avx", "sse4_2", "sve", "asimd")  # the widest first
# distributions that matter; one that a run has imported is named in its record
PACKAGES = (
    "torch", "torchvision", "lightning", "hydra-core", "omegaconf", "numpy", "tensorflow", "keras",
    "jax", "jaxlib", "mlx", "pydantic", "tensorboard",
)  # fmt: skip


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
    stated = cpuinfo(root)
    readings: dict[str, Any] = {
        "cpu_model": cpu_model(root),
        "ram_gib": ram_gib(root),
        "driver": gpu.read("driver") if gpu else None,
        "power_limit_w": gpu.read("power_limit_w") if gpu else None,
        "hypervisor": detect.virtualisation(root),
        "cpu_family_model_stepping": _family_model_stepping(stated),
        "isa": _isa(stated),
    }
    refused = gpu.refusals if gpu else {"driver": hidden, "power_limit_w": hidden}
    reasons = {"hypervisor": "no sign of any", **refused}
    return Hardware(
        logical_cpus=len(cpus.allowed(root)),
        cores=cpus.physical_cores(root),
        cpu_quota=cgroup.quota(root),
        threads=facts.threads or cpus.threads(root),
        accelerator=facts.accelerator,
        # a processor has no other name than its model
        accelerator_name=readings["cpu_model"]
        if facts.accelerator == "cpu"
        else facts.accelerator_name,
        accelerator_count=facts.accelerator_count,
        virtualised=detect.virtual_machine(root) is not None,
        reasons={
            name: reasons.get(name, "not stated by the system")
            for name, value in readings.items()
            if value is None
        },
        **readings,
    )


def cpuinfo(root: Path = ROOT) -> dict[str, str]:
    """What `/proc/cpuinfo` says of the first processor, and of all together."""
    found: dict[str, str] = {}
    for line in text(root / "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if value.strip():
            found.setdefault(key.strip(), value.strip())
    return found


def cpu_model(root: Path = ROOT) -> str | None:
    """The processor's own name."""
    stated = cpuinfo(root)
    model = next((stated[key] for key in stated if key in MODEL_KEYS), None)
    return model or sysctl("machdep.cpu.brand_string") or platform.processor() or None


def _family_model_stepping(stated: dict[str, str]) -> str | None:
    """How an x86 processor numbers itself, such as `25/17/1`: names hide generations."""
    wanted = [stated.get(key, "") for key in ("cpu family", "model", "stepping")]
    return "/".join(wanted) if all(wanted) else None


def _isa(stated: dict[str, str]) -> str | None:
    """The widest vector set of the processor, such as `avx512f`."""
    flags = f"{stated.get('flags')} {stated.get('Features')}".split()
    found = next((name for name in VECTOR_SETS if name in flags), None)
    return found or ("neon" if platform.machine() == "arm64" else None)


def ram_gib(root: Path = ROOT) -> float | None:
    """Memory of the machine, or of the cgroup where that is less."""
    whole_bytes, _ = cgroup.memory_bytes(root)
    return None if whole_bytes is None else round(whole_bytes / GIB, 2)


def software(checkout: Path = PACKAGE.parent) -> Software:
    """The software part of the record: versions and the state of the checkout, never the
    environment itself."""
    commit = _git(checkout, "rev-parse", "HEAD") or _commit_of_archive()
    changes = _git(checkout, "status", "--porcelain", "--untracked-files=no") if commit else None
    return Software(
        python=platform.python_version(),
        os=operating_system(),
        packages=packages(),
        git_commit=commit,
        git_dirty=None if changes is None else bool(changes),
        program_version=__version__,
        package_sha256=package_sha256(),
    )


def package_sha256(package: Path = PACKAGE) -> str:
    """A digest of the package's code: names and contents of all its files of Python and C."""
    digest = hashlib.sha256()
    files = {
        path.relative_to(package).as_posix(): path
        for path in package.rglob("*")
        if path.suffix in (".py", ".c", ".h")
    }
    for name, path in sorted(files.items()):
        digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def packages() -> dict[str, str]:
    """Versions of the packages that matter and that this run has imported."""
    found = {}
    for name in PACKAGES:
        if name.removesuffix("-core") in sys.modules:
            with suppress(metadata.PackageNotFoundError):
                found[name] = metadata.version(name)
    return found


def operating_system() -> str:
    """Such as `Linux 6.1 (Debian GNU/Linux 12)` or `macOS 15.2`; no host name."""
    if platform.system() == "Darwin":
        return f"macOS {platform.mac_ver()[0]}"
    try:
        distribution = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        distribution = ""
    kernel = ".".join(platform.release().split(".")[:2])
    return f"{platform.system()} {kernel}" + (f" ({distribution})" if distribution else "")


def _commit_of_archive() -> str | None:
    """The commit that `scripts/bootstrap.py` installed from; an installed wheel knows none."""
    given = os.environ.get("MNIST_GPU_COMMIT", "")
    return given if re.fullmatch(r"[0-9a-f]{40}", given) else None


def _git(checkout: Path, *arguments: str) -> str | None:
    there = (checkout / ".git").exists()
    return output_of("git", "-C", str(checkout), *arguments) if there else None
