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
        self._apple_j = 0.0
        self._total_j = 0.0
        self._last: dict[str, float] = {}

    @property
    def total_j(self) -> float | None:
        """Joules counted so far; None where any part of the time could not be read."""
        return None if self.source is None else self._total_j

    def start(self) -> None:
        """Begin to count."""
        try:
            if self._apple is not None:
                self._apple.begin_window(WINDOW)
            self._last = self._read()
        except Exception as exc:  # a counter may fail in as many ways as there are platforms
            self._lose(exc)
            return
        if self._last:
            self.source = NVML if self.on_gpu else RAPL if self._apple is None else APPLE
        else:
            self.reason = self._why_none()

    def tick(self) -> None:
        """Take what has been counted since the last time. RAPL counters start again from 0 after
        minutes under load: call it more often."""
        if self.source is None:
            return
        try:
            now, before = self._read(), self._last
            if now.keys() != before.keys():
                raise OSError("the energy counter went away")
            self._total_j += sum(self._advance(name, before[name], now[name]) for name in now)
            self._last = now
        except Exception as exc:  # likewise
            self._lose(exc)

    def _read(self) -> dict[str, float]:
        """Counters in joules by name."""
        if self.on_gpu:
            energy_j = self.gpu.read("energy_j") if self.gpu is not None else None
            return {} if energy_j is None else {"gpu": energy_j}
        if self._apple is not None:
            # it counts in windows: one ends, and the next begins at once
            used = self._apple.end_window(WINDOW)
            self._apple.begin_window(WINDOW)
            self._apple_j += ((used.cpu_total_mj or 0) + (used.gpu_mj or 0)) / 1000
            return {"chip": self._apple_j}
        found = {}
        for zone in sorted(self.powercap.glob("intel-rapl:*")):
            # `psys` counts the packages again, and sub-domains have two colons
            if zone.name.count(":") == 1 and text(zone / "name").startswith("package"):
                counted_uj = text(zone / "energy_uj")
                if counted_uj.isdigit():
                    found[zone.name] = int(counted_uj) / 1e6
        return found

    def _advance(self, name: str, before_j: float, now_j: float) -> float:
        if now_j >= before_j:
            return now_j - before_j
        if self.on_gpu:
            raise OSError("the driver's energy counter was reset")
        return now_j - before_j + int(text(self.powercap / name / "max_energy_range_uj")) / 1e6

    def _why_none(self) -> str:
        if self.on_gpu:
            return self.gpu.refusals["energy_j"] if self.gpu else "NVML shows no GPU"
        if any(self.powercap.glob("intel-rapl:*")):
            return "the system lets only root read the processor's energy counters"
        return "no energy counter to be seen"

    def _lose(self, exc: Exception) -> None:
        self.source = None
        # only our own words: the system's may hold a path
        self.reason = str(exc) if type(exc) is OSError and len(exc.args) == 1 else "unreadable"


def _apple_monitor() -> Any:
    try:
        from zeus_apple_silicon import AppleEnergyMonitor

        return AppleEnergyMonitor()
    except Exception:  # not installed, not a Mac, or not allowed
        return None
