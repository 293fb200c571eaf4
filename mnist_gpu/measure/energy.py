"""Energy from a counter in the hardware, or none: an estimate is never passed off as a reading."""

from pathlib import Path
from typing import Any

from mnist_gpu.measure.gpus import Gpu
from mnist_gpu.system import ROOT, text

NVML = "NVML energy counter (the GPU alone)"
APPLE = "Apple IOReport counters (CPU and GPU of the whole chip)"
RAPL = "RAPL package counters (the whole processor)"
WINDOW = "mnist-gpu"


class EnergyMeter:
    """Adds up what one kind of counter advances by.

    A run on an NVIDIA GPU takes NVML's counter and nothing else: the processor's beside it would
    be another quantity. Any other run takes Apple's counters (package zeus-apple-silicon), or
    Intel's and AMD's RAPL where the system lets them be read (Linux: root only, since 2020).
    https://www.kernel.org/doc/html/latest/power/powercap/powercap.html

    Args:
        gpu: the GPU the run is on, None for any other.
        root: where `/sys` is.
        apple: zeus-apple-silicon's `AppleEnergyMonitor()`, or a stand-in; None looks for it.
        on_gpu: whether the run is on an NVIDIA GPU, seen or not.
    """

    def __init__(
        self, gpu: Gpu | None = None, root: Path = ROOT, apple: Any = None, on_gpu: bool = False
    ) -> None:
        self.gpu = gpu
        self.on_gpu = on_gpu or gpu is not None
        self.powercap = root / "sys/class/powercap"
        self.source: str | None = None
        self.reason = "nothing was measured"
        self._apple = None if self.on_gpu else apple or _apple_monitor()
        self._total_j = 0.0
        self._last: dict[str, float] | None = None
        self._lost = False

    @property
    def total_j(self) -> float | None:
        """Joules counted so far; None where any part of the time could not be read."""
        return None if self.source is None or self._lost else self._total_j

    def start(self) -> None:
        """Begin to count, or go on after `pause`."""
        try:
            self._begin()
        except Exception as fault:  # a counter may fail in as many ways as there are platforms
            self._lose(fault)

    def tick(self) -> None:
        """Take what has been counted since the last time. RAPL counters start again from 0 after
        minutes under load: call it more often."""
        if self._last is None or self._lost:
            return
        try:
            self._total_j += self._advance()
        except Exception as fault:  # likewise
            self._lose(fault)

    def pause(self) -> None:
        """Stop counting until `start`."""
        self.tick()
        self._last = None

    def _begin(self) -> None:
        if self._apple is not None:
            self._apple.begin_window(WINDOW)
            self._last, self.source = {}, APPLE
            return
        self._last = self._read()
        if self._last:
            self.source = NVML if self.on_gpu else RAPL
        elif self.source is not None:
            self._lost, self.reason = True, "the energy counter went away"
        elif self.on_gpu:
            refusals = self.gpu.refusals if self.gpu is not None else {}
            self.reason = refusals.get("energy_j", "NVML shows no GPU")
        elif self.powercap.is_dir() and any(self.powercap.glob("intel-rapl:*")):
            self.reason = "the system lets only root read the processor's energy counters"
        else:
            self.reason = "no energy counter to be seen"

    def _advance(self) -> float:
        """Joules since the last reading."""
        if self._apple is not None:
            used = self._apple.end_window(WINDOW)
            self._apple.begin_window(WINDOW)
            parts = [used.cpu_total_mj, used.gpu_mj]
            return sum(part for part in parts if part is not None) / 1000
        assert self._last is not None
        now, before = self._read(), self._last
        if now.keys() != before.keys():
            raise OSError("the energy counter went away")
        self._last = now
        return sum(self._difference(name, before[name], now[name]) for name in now)

    def _read(self) -> dict[str, float]:
        """Counters in joules by name."""
        if self.on_gpu:
            energy_j = self.gpu.read("energy_j") if self.gpu is not None else None
            return {} if energy_j is None else {"gpu": energy_j}
        found = {}
        for folder in sorted(self.powercap.glob("intel-rapl:*")):
            # `psys` counts the packages again, and sub-domains have two colons
            if folder.name.count(":") == 1 and text(folder / "name").startswith("package"):
                counted = text(folder / "energy_uj")
                if counted.isdigit():
                    found[folder.name] = int(counted) / 1e6
        return found

    def _difference(self, name: str, before_j: float, now_j: float) -> float:
        if now_j >= before_j:
            return now_j - before_j
        if self.on_gpu:
            raise OSError("the driver's energy counter was reset")
        return now_j - before_j + int(text(self.powercap / name / "max_energy_range_uj")) / 1e6

    def _lose(self, fault: Exception) -> None:
        self._lost, self._last = True, None
        self.reason = str(fault) if type(fault) is OSError and fault.args else "unreadable"


def _apple_monitor() -> Any:
    try:
        from zeus_apple_silicon import AppleEnergyMonitor

        return AppleEnergyMonitor()
    except Exception:  # not installed, not a Mac, or not allowed
        return None
