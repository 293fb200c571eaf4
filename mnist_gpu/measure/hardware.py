"""What a run ran on and with, without a word on whose machine it is."""

import os
import platform
import re
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from mnist_gpu.files import CODE, code_sha256
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


def read(facts: EngineFacts, gpu: gpus.Gpu | None = None) -> Hardware:
    """The hardware part of the record; `gpu` is looked for if the engine ran on CUDA."""
    hidden = "no NVIDIA GPU in use"
    if gpu is None and facts.accelerator == "cuda":
        gpu, hidden = gpus.find(os.environ, facts.accelerator_name)
    model, whole_bytes = cpu_model(), cgroup.memory_bytes()[0]
    readings: dict[str, Any] = {
        "cpu_model": model,
        "ram_gib": None if whole_bytes is None else round(whole_bytes / GIB, 2),
        "driver": gpu.read("driver") if gpu else None,
        "power_limit_w": gpu.read("power_limit_w") if gpu else None,
        "hypervisor": detect.virtualisation(),
        **_instructions(),
    }
    refused = gpu.refusals if gpu else {"driver": hidden, "power_limit_w": hidden}
    reasons = {"hypervisor": "no sign of any", **refused}
    return Hardware(
        logical_cpus=len(cpus.allowed()),
        cores=cpus.physical_cores(),
        cpu_quota=cgroup.quota(),
        threads=facts.threads or cpus.threads(),
        accelerator=facts.accelerator,
        # a processor has no other name than its model
        accelerator_name=model if facts.accelerator == "cpu" else facts.accelerator_name,
        accelerator_count=facts.accelerator_count,
        virtualised=detect.virtual_machine() is not None,
        reasons={
            name: reasons.get(name, "not stated by the system")
            for name, value in readings.items()
            if value is None
        },
        **readings,
    )


def cpu_model() -> str | None:
    """The processor's own name."""
    stated = _cpuinfo()
    model = next((stated[key] for key in stated if key in MODEL_KEYS), None)
    return model or sysctl("machdep.cpu.brand_string") or platform.processor() or None


def _cpuinfo() -> dict[str, str]:
    """What `/proc/cpuinfo` says of the first processor, and of all together."""
    found: dict[str, str] = {}
    for line in text(ROOT / "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if value.strip():
            found.setdefault(key.strip(), value.strip())
    return found


def _instructions() -> dict[str, str | None]:
    """How an x86 processor numbers itself, such as `25/17/1`, as names hide generations; and the
    widest vector set, such as `avx512f`."""
    stated = _cpuinfo()
    numbers = [stated.get(key, "") for key in ("cpu family", "model", "stepping")]
    flags = f"{stated.get('flags')} {stated.get('Features')}".split()
    usual = "neon" if platform.machine() == "arm64" else None
    return {
        "cpu_family_model_stepping": "/".join(numbers) if all(numbers) else None,
        "isa": next((name for name in VECTOR_SETS if name in flags), usual),
    }


def software() -> Software:
    """The software part of the record: versions and the state of the checkout, never the
    environment itself."""
    # what `scripts/bootstrap.py` installed from; an installed wheel knows none
    archive = re.fullmatch(r"[0-9a-f]{40}", os.environ.get("MNIST_GPU_COMMIT", ""))
    commit = _git("rev-parse", "HEAD") or (archive and archive[0])
    changes = _git("status", "--porcelain", "--untracked-files=no") if commit else None
    return Software(
        python=platform.python_version(),
        os=_operating_system(),
        packages=packages(),
        git_commit=commit,
        git_dirty=None if changes is None else bool(changes),
        program_version=__version__,
        package_sha256=package_sha256(),
    )


def package_sha256(package: Path = PACKAGE) -> str:
    """A digest of the package's code: names and contents of all its files of Python and C."""
    paths = (path for path in package.rglob("*") if path.suffix in CODE)
    return code_sha256({path.relative_to(package).as_posix(): path.read_bytes() for path in paths})


def packages() -> dict[str, str]:
    """Versions of the packages that matter and that this run has imported."""
    found = {}
    for name in PACKAGES:
        if name.removesuffix("-core") in sys.modules:
            with suppress(metadata.PackageNotFoundError):
                found[name] = metadata.version(name)
    return found


def _operating_system() -> str:
    """Such as `Linux 6.1 (Debian GNU/Linux 12)` or `macOS 15.2`; no host name."""
    if platform.system() == "Darwin":
        return f"macOS {platform.mac_ver()[0]}"
    kernel = ".".join(platform.release().split(".")[:2])
    distribution = ""
    with suppress(OSError):
        distribution = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    return f"{platform.system()} {kernel}" + (f" ({distribution})" if distribution else "")


def _git(*arguments: str) -> str | None:
    checkout = PACKAGE.parent
    there = (checkout / ".git").exists()
    return output_of("git", "-C", str(checkout), *arguments) if there else None
