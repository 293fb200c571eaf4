"""NVIDIA's management library, asked so that no answer is ever an error.

Virtual GPUs and slices of GPUs (MIG) refuse many of its calls: every reading is optional, and a
refusal is kept as the reason. https://docs.nvidia.com/deploy/nvml-api/
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from mnist_gpu.system import plain

MIB = 1024 * 1024
# nvmlClocksEventReasons: hardware slowdown, thermal (software, hardware), power brake. A power cap
# is not among them: it is how the card is meant to run.
SLOWED = 0x08 | 0x20 | 0x40 | 0x80


READINGS: dict[str, Callable[[Any, Any], Any]] = {
    "name": lambda n, h: plain(_text(n.nvmlDeviceGetName(h))),
    "driver": lambda n, h: plain(_text(n.nvmlSystemGetDriverVersion())),
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
    """One NVIDIA GPU, as NVML sees it.

    Args:
        nvml: the module `pynvml` (package nvidia-ml-py), or a stand-in.
        handle: of the device.

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
        own_bytes = [
            process.usedGpuMemory
            for process in self.read("processes") or []
            if process.pid in own_pids and process.usedGpuMemory
        ]
        memory_mib: float | None = (
            sum(own_bytes) / MIB if own_bytes else self.read("gpu_memory_mib")
        )
        return memory_mib

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
        visible = environ.get("CUDA_VISIBLE_DEVICES")
        wanted = "0" if visible is None else visible.split(",")[0].strip()
        if wanted.startswith("MIG-"):
            return Gpu(nvml, nvml.nvmlDeviceGetHandleByUUID(wanted)), ""
        every = [nvml.nvmlDeviceGetHandleByIndex(n) for n in range(nvml.nvmlDeviceGetCount())]
        handle = _matching(nvml, every, wanted, name)
    except ImportError:
        return None, "nvidia-ml-py is not installed"
    except Exception as fault:  # no library, no driver, no right to ask
        return None, plain(f"NVML: {fault or type(fault).__name__}")
    if handle is None:
        return None, "NVML shows no GPU that is the framework's"
    return Gpu(nvml, handle), ""


def _matching(nvml: Any, every: list[Any], wanted: str, name: str | None) -> Any:
    if wanted.startswith("GPU-"):
        uuids = [(handle, _text(nvml.nvmlDeviceGetUUID(handle))) for handle in every]
        return next((handle for handle, uuid in uuids if uuid.startswith(wanted)), None)
    if not wanted.isdigit():
        return None
    numbered = every[int(wanted)] if int(wanted) < len(every) else None
    if not name:
        return numbered
    names = [(handle, _text(nvml.nvmlDeviceGetName(handle))) for handle in every]
    if any(handle is numbered and stated == name for handle, stated in names):
        return numbered
    return next((handle for handle, stated in names if stated == name), None)


def _text(answer: Any) -> str:
    return answer.decode(errors="replace") if isinstance(answer, bytes) else str(answer)
