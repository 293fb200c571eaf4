"""NVIDIA's management library, asked so that no answer is ever an error.

Virtual GPUs and slices of GPUs (MIG) refuse many of its calls: every reading is optional, and a
refusal is kept as the reason. https://docs.nvidia.com/deploy/nvml-api/
"""

import importlib
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from mnist_gpu.paths import packaged
from mnist_gpu.system import plain

MIB = 1024 * 1024
# nvmlClocksEventReasons: hardware slowdown, thermal (software, hardware), power brake. A power cap
# is not among them: it is how the card is meant to run.
SLOWED = 0x08 | 0x20 | 0x40 | 0x80

READINGS: dict[str, Callable[[Any, Any], Any]] = {
    "name": lambda n, h: plain(n.nvmlDeviceGetName(h)),
    "driver": lambda n, h: plain(n.nvmlSystemGetDriverVersion()),
    # the newest CUDA major version that the driver runs, compatibility packages included
    "cuda": lambda n, h: n.nvmlSystemGetCudaDriverVersion_v2() // 1000,
    # compute capability, such as 7.5
    "capability": lambda n, h: float("{}.{}".format(*n.nvmlDeviceGetCudaComputeCapability(h))),
    # of the driver's last sampling period, the share in which a kernel ran
    "gpu_percent": lambda n, h: float(n.nvmlDeviceGetUtilizationRates(h).gpu),
    "gpu_memory_mib": lambda n, h: n.nvmlDeviceGetMemoryInfo(h).used / MIB,
    "gpu_memory_free_mib": lambda n, h: n.nvmlDeviceGetMemoryInfo(h).free / MIB,
    "gpu_power_w": lambda n, h: n.nvmlDeviceGetPowerUsage(h) / 1000,
    "power_limit_w": lambda n, h: n.nvmlDeviceGetEnforcedPowerLimit(h) / 1000,
    # since the driver was loaded (Volta and later)
    "energy_j": lambda n, h: n.nvmlDeviceGetTotalEnergyConsumption(h) / 1000,
    # whether heat or a power brake holds the clock down now
    "slowed": lambda n, h: bool(n.nvmlDeviceGetCurrentClocksEventReasons(h) & SLOWED),
    "processes": lambda n, h: list(n.nvmlDeviceGetComputeRunningProcesses(h)),
}


class Gpu:
    """One NVIDIA GPU, as NVML (the module `pynvml`, or a stand-in) sees it.

    Attributes:
        refusals: by reading, why NVML did not answer the last time.
    """

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle
        self.refusals: dict[str, str] = {}

    def read(self, reading: str) -> Any:
        """One of `READINGS`; None where NVML refuses, with the reason in `refusals`."""
        try:
            answer = READINGS[reading](self._nvml, self._handle)
        except Exception as exc:  # NVML has an exception for every refusal
            self.refusals[reading] = plain(f"NVML: {exc or type(exc).__name__}")
            return None
        self.refusals.pop(reading, None)
        return answer

    def memory_mib(self, own_pids: set[int]) -> float | None:
        """Memory that the processes `own_pids` use; of the whole device where NVML does not know
        them (containers)."""
        listed = self.read("processes") or []
        own_bytes = sum(one.usedGpuMemory or 0 for one in listed if one.pid in own_pids)
        return own_bytes / MIB if own_bytes else self.read("gpu_memory_mib")

    def other_processes(self, own_pids: set[int]) -> int | None:
        """How many other processes compute on it, at the least.

        In a container NVML may list ours under a number that only the host knows: then one of the
        listed is taken for ours.
        """
        listed = self.read("processes")
        if listed is None:
            return None
        pids = {process.pid for process in listed}
        return len(pids - own_pids) if pids & own_pids else max(0, len(pids) - 1)


def find(
    environ: Mapping[str, str], name: str | None = None, nvml: Any = None
) -> tuple[Gpu | None, str]:
    """The GPU that the framework calls its first; None, with the reason, where NVML shows none.

    `CUDA_VISIBLE_DEVICES` holds numbers, UUIDs or beginnings of UUIDs. CUDA numbers the fastest
    first unless `CUDA_DEVICE_ORDER=PCI_BUS_ID`, NVML by bus: where the numbers lead to a GPU of
    another name than `name`, the first of that name is meant.
    """
    try:
        nvml = nvml or importlib.import_module("pynvml")
        nvml.nvmlInit()
        wanted = environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
        if wanted.startswith("MIG-"):
            return Gpu(nvml, nvml.nvmlDeviceGetHandleByUUID(wanted)), ""
        every = [nvml.nvmlDeviceGetHandleByIndex(n) for n in range(nvml.nvmlDeviceGetCount())]
        handle = _matching(nvml, every, wanted, name)
    except ImportError:
        return None, "nvidia-ml-py is not installed"
    except Exception as exc:  # no library, no driver, no right to ask
        return None, plain(f"NVML: {exc or type(exc).__name__}")
    if handle is None:
        return None, "NVML shows no GPU that is the framework's"
    return Gpu(nvml, handle), ""


def _matching(nvml: Any, every: list[Any], wanted: str, name: str | None) -> Any:
    if wanted.startswith("GPU-"):
        fitting = [one for one in every if nvml.nvmlDeviceGetUUID(one).startswith(wanted)]
        return fitting[0] if fitting else None
    if not wanted.isdigit():
        return None
    numbered = every[int(wanted) : int(wanted) + 1]
    if not name:
        return numbered[0] if numbered else None
    candidates = [*numbered, *every]
    return next((one for one in candidates if nvml.nvmlDeviceGetName(one) == name), None)


class Misfit(NamedTuple):
    """Something that keeps a build of PyTorch from using a GPU."""

    what: str  # `driver`, or `capability` (the GPU's compute capability)
    stated: Any
    needed: Any  # the least that the build works with
    torch: str | None  # releases that fit, as pip reads it, if any are known


def misfits(
    card: Gpu, built_with: str, works: bool = False, version: str = "0+unknown"
) -> list[Misfit]:
    """Why PyTorch cannot use the GPU, by `data/torch.yaml`; empty where nothing speaks against it.

    Args:
        card: the GPU.
        built_with: the CUDA of this PyTorch (`torch.version.cuda`), such as `13.2`.
        works: whether the driver is known to do; a compatibility package may bridge an old one.
        version: of this PyTorch; PyPI's have no `+`, and others may hold code for older GPUs.
    """
    rows = packaged("measure/data/torch")["cuda"]
    row = next((row for row in rows if row["cuda"] == int(float(built_with))), None)
    if row is None:
        return []
    bridged = works or (card.read("cuda") or 0) >= row["cuda"]
    published = SpecifierSet(row["torch"]).contains(version, prereleases=True)
    covered = row["cuda"] > 12 or ("+" not in version and published)
    judged = {
        "driver": None if bridged else card.read("driver"),
        "capability": card.read("capability") if covered else None,
    }
    found = []
    for what, stated in judged.items():
        if stated is not None:
            has = Version(str(stated))
            fitting = [one["torch"] for one in rows if has >= Version(str(one[what]))]
            if row["torch"] not in fitting:
                found.append(Misfit(what, stated, row[what], next(iter(fitting), None)))
    return found


def why_not(built_with: str | None, answers: bool, nvml: Any = None) -> str | None:
    """Why this PyTorch cannot use the GPU that is here; None where nothing speaks against it.

    Args:
        built_with: `torch.version.cuda`; None for a build without CUDA.
        answers: `torch.cuda.is_available()`.
        nvml: the module `pynvml`, or a stand-in.
    """
    card, _ = find(os.environ, nvml=nvml)
    if card is None:
        return None
    if built_with is None:
        return "there is an NVIDIA GPU, but this PyTorch is built without CUDA"
    for one in misfits(card, built_with, answers):
        instead = f", or pip install 'torch{one.torch}'" if one.torch else ""
        needs = f"and this PyTorch's CUDA {built_with} needs {one.needed} or"
        if one.what == "driver":
            return f"the NVIDIA driver is {one.stated}, {needs} newer: update the driver{instead}"
        return f"the GPU's compute capability is {one.stated}, {needs} more{instead}"
    return None
