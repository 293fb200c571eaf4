"""Energy from a counter in the hardware, or none: an estimate is never passed off as a reading."""

from pathlib import Path
from typing import Any

from mnist_gpu.measure.gpus import Gpu

POWERCAP = Path("/sys/class/powercap")


class EnergyMeter:
    """Reads one counter at the start and at the end.

    In this order: NVML's total energy counter (the GPU alone), Intel's and AMD's RAPL package
    counters (the processor alone) where they may be read, Apple's counters through
    zeus-apple-silicon where that is installed.
    """

    def __init__(self, gpu: Gpu | None = None, powercap: Path = POWERCAP) -> None:
        self.gpu = gpu
        self.powercap = powercap
        self._gpu_start_j: float | None = None
        self._rapl_start_uj: dict[Path, int] = {}
        self._apple: Any = None

    def start(self) -> None:
        """Read the counters."""
        if self.gpu is not None:
            self._gpu_start_j = self.gpu.energy_j()
        self._rapl_start_uj = self._rapl()
        try:
            from zeus_apple_silicon import AppleEnergyMonitor

            self._apple = AppleEnergyMonitor()
            self._apple.begin_window("run")
        except Exception:  # not installed, not a Mac, or not allowed
            self._apple = None

    def stop(self) -> tuple[float | None, str | None, str]:
        """Energy in joules, its source, and the reason where there is none."""
        if self.gpu is not None and self._gpu_start_j is not None:
            end_j = self.gpu.energy_j()
            if end_j is not None and end_j >= self._gpu_start_j:
                return end_j - self._gpu_start_j, "NVML energy counter (GPU)", ""
        if self._apple is not None:
            try:
                used = self._apple.end_window("run")
                total_mj = (used.cpu_total_mj or 0) + (used.gpu_mj or 0)
                return total_mj / 1000, "Apple IOReport (CPU and GPU)", ""
            except Exception:  # the counter went away
                return None, None, "Apple's counters could not be read"
        ends_uj = self._rapl()
        if ends_uj and ends_uj.keys() == self._rapl_start_uj.keys():
            total_uj = sum(self._difference(path, end) for path, end in ends_uj.items())
            return total_uj / 1e6, "RAPL package counters (processor)", ""
        return None, None, "no energy counter that may be read"

    def _rapl(self) -> dict[Path, int]:
        found = {}
        for folder in sorted(self.powercap.glob("intel-rapl:*")):
            if folder.name.count(":") == 1:
                try:
                    found[folder] = int((folder / "energy_uj").read_text())
                except (OSError, ValueError):
                    continue
        return found

    def _difference(self, folder: Path, end_uj: int) -> int:
        used_uj = end_uj - self._rapl_start_uj[folder]
        if used_uj < 0:
            # the counter started again at its maximum
            used_uj += int((folder / "max_energy_range_uj").read_text())
        return used_uj
