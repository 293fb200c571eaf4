"""NVIDIA's management library, asked so that no answer is ever an error.

Virtual GPUs refuse many of its calls; every reading is optional.
"""

import importlib
from collections.abc import Callable
from typing import Any

MIB = 1024 * 1024


class Gpu:
    """One NVIDIA GPU, as NVML sees it.

    Args:
        nvml: the module `pynvml` (package nvidia-ml-py), or a stand-in.
        handle: of the device.
    """

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle

    def busy_percent(self) -> float | None:
        """Share of the last sampling period in which a kernel ran."""
        return self._ask(lambda n, h: float(n.nvmlDeviceGetUtilizationRates(h).gpu))

    def memory_mib(self) -> float | None:
        """Memory in use on the whole device."""
        return self._ask(lambda n, h: n.nvmlDeviceGetMemoryInfo(h).used / MIB)

    def power_w(self) -> float | None:
        """Power now."""
        return self._ask(lambda n, h: n.nvmlDeviceGetPowerUsage(h) / 1000)

    def power_limit_w(self) -> float | None:
        """Power it may draw."""
        return self._ask(lambda n, h: n.nvmlDeviceGetEnforcedPowerLimit(h) / 1000)

    def energy_j(self) -> float | None:
        """Energy since the driver was loaded (Volta and later)."""
        return self._ask(lambda n, h: n.nvmlDeviceGetTotalEnergyConsumption(h) / 1000)

    def other_processes(self, own_pid: int) -> int | None:
        """How many other processes compute on it."""
        return self._ask(
            lambda n, h: sum(
                process.pid != own_pid for process in n.nvmlDeviceGetComputeRunningProcesses(h)
            )
        )

    def driver(self) -> str | None:
        """Version of the driver."""
        return self._ask(lambda n, h: _plain(n.nvmlSystemGetDriverVersion()))

    def _ask(self, question: Callable[[Any, Any], Any]) -> Any:
        try:
            return question(self._nvml, self._handle)
        except Exception:  # NVML has an exception for every refusal
            return None


def find(environ: dict[str, str], nvml: Any = None) -> Gpu | None:
    """The first GPU that CUDA shows to this process; None without NVML or device.

    `CUDA_VISIBLE_DEVICES` may hold a number or a UUID.
    """
    try:
        nvml = nvml or importlib.import_module("pynvml")
        nvml.nvmlInit()
        visible = environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip()
        if visible.startswith(("GPU-", "MIG-")):
            return Gpu(nvml, nvml.nvmlDeviceGetHandleByUUID(visible))
        return Gpu(nvml, nvml.nvmlDeviceGetHandleByIndex(int(visible) if visible else 0))
    except Exception:  # no library, no driver, no device: all the same here
        return None


def _plain(text: Any) -> str:
    return text.decode() if isinstance(text, bytes) else str(text)
