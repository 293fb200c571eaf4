"""Machines that are made up: a root folder, clocks, processes and NVIDIA's library."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mnist_gpu.measure.energy import EnergyMeter
from mnist_gpu.measure.resources import Sampler

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def rapl(root: Path, package_uj: int) -> Path:
    """A processor of one package, whose counter starts again from 0 after 10 J."""
    zone = "sys/class/powercap/intel-rapl"
    return tree(
        root,
        {
            f"{zone}:0/name": "package-0",
            f"{zone}:0/energy_uj": str(package_uj),
            f"{zone}:0/max_energy_range_uj": "10000000",
            f"{zone}:0:0/name": "core",
            f"{zone}:0:0/energy_uj": str(package_uj * 7),
            f"{zone}:1/name": "psys",
            f"{zone}:1/energy_uj": str(package_uj * 9),
        },
    )


class FakeNvml:
    """Stands in for NVIDIA's library: there is no GPU here. `refused` calls raise as on a vGPU."""

    def __init__(self, *refused: str, names: tuple[str, ...] = ("Tesla T4",)) -> None:
        self.refused = refused
        self.names = names
        self.energy_mj = 1_000_000
        self.clock_reasons = 0
        self.processes = [(os.getpid(), None)]

    def nvmlDeviceGetCount(self) -> int:
        return len(self.names)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        return uuid

    def nvmlDeviceGetName(self, handle: int) -> bytes:
        return self.names[handle].encode()

    def nvmlDeviceGetUUID(self, handle: int) -> str:
        return f"GPU-{handle}{handle}{handle}{handle}-abcd"

    def __getattr__(self, name: str) -> Any:
        answers = {
            "nvmlInit": None,
            "nvmlSystemGetDriverVersion": b"550.54",
            "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=87),
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=2048 * 1024**2),
            "nvmlDeviceGetPowerUsage": 65_000,
            "nvmlDeviceGetEnforcedPowerLimit": 70_000,
            "nvmlDeviceGetTotalEnergyConsumption": self.energy_mj,
            "nvmlDeviceGetCurrentClocksEventReasons": self.clock_reasons,
            "nvmlDeviceGetComputeRunningProcesses": [
                SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in self.processes
            ],
        }

        def answer(handle: object = None) -> Any:
            if name in self.refused:
                raise RuntimeError("Not Supported")
            return answers[name]

        return answer


class FakeProcess:
    """psutil's `Process`, with CPU time that the test spends."""

    def __init__(self, pid: int = 0) -> None:
        self.pid = pid or os.getpid()
        self.cpu_s = 0.0
        self.rss = 512 * 1024**2
        self.descendants: list[FakeProcess] = []

    def cpu_times(self) -> SimpleNamespace:
        return SimpleNamespace(user=self.cpu_s, system=0.0)

    def memory_info(self) -> SimpleNamespace:
        return SimpleNamespace(rss=self.rss)

    def children(self, recursive: bool) -> list["FakeProcess"]:
        return self.descendants


class Machine:
    """Four CPUs, of which a run may use the first two; clocks, a process and a hypervisor."""

    def __init__(self, root: Path, boot: bool = True, **options: Any) -> None:
        self.root = tree(root, {"proc/self/status": "Cpus_allowed_list:\t0-1\n"})
        self.awake_s = self.boot_s = self.wall_s = 0.0
        self.busy_s = self.stolen_s = 0.0
        self.process = FakeProcess()
        self._show()
        self.sampler = Sampler(
            # no sample but those that the test takes
            interval_s=3600,
            awake_clock=lambda: self.awake_s,
            boot_clock=lambda: self.boot_s if boot else None,
            wall_clock=lambda: self.wall_s,
            process=self.process,
            root=root,
            meter=options.pop("meter", None) or EnergyMeter(options.get("gpu"), root),
            **options,
        )

    def works(
        self, seconds: float, own: float = 1.5, foreign: float = 0.0, stolen: float = 0.0
    ) -> None:
        """Time passes, with that many cores busy."""
        self.awake_s += seconds
        self.boot_s += seconds
        self.wall_s += seconds
        self.process.cpu_s += own * seconds
        self.busy_s += (own + foreign) * seconds
        self.stolen_s += stolen * seconds
        self._show()

    def sleeps(self, seconds: float) -> None:
        self.boot_s += seconds
        self.wall_s += seconds

    def _show(self) -> None:
        busy, stolen = round(self.busy_s * TICKS_PER_S), round(self.stolen_s * TICKS_PER_S)
        # the CPUs that are not ours are busy all the time
        lines = [
            f"cpu  {busy + 99999} 0 0 0 0 0 0 {stolen} 0 0",
            f"cpu0 {busy} 0 0 7 3 0 0 {stolen} 0 0",
            "cpu1 0 0 0 7 3 0 0 0 0 0",
            f"cpu2 {busy + 99999} 0 0 0 0 0 0 0 0 0",
        ]
        tree(self.root, {"proc/stat": "\n".join(lines)})
