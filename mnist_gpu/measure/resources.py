"""What the run uses while it trains, read once a second beside it."""

import os
import threading
import time
from collections.abc import Callable
from typing import Any

from mnist_gpu.measure import cpus, gpus
from mnist_gpu.measure.energy import EnergyMeter
from mnist_gpu.results.record import Resources

INTERVAL_S = 1.0
MIB = 1024 * 1024
FOREIGN_LIMIT_PERCENT = 10.0
SUSPENDED_LIMIT_S = 5.0
THROTTLED_LIMIT_S = 1.0


class Sampler:
    """Samples from a thread of its own between `start` and `stop`.

    A reading that fails becomes null with a reason; it never disturbs the training.

    Args:
        accelerator: what the engine trains on; the GPU is read only for `cuda`.
        interval_s: seconds between samples.
        clock: monotonic seconds, standing still while the machine sleeps.
        wall_clock: seconds that go on while the machine sleeps.
        process: psutil's `Process`, or a stand-in.
        gpu: NVML's view of the GPU, or a stand-in.
    """

    def __init__(
        self,
        accelerator: str = "cpu",
        interval_s: float = INTERVAL_S,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        process: Any = None,
        gpu: gpus.Gpu | None = None,
    ) -> None:
        import psutil

        self._psutil = psutil
        self.process = process or psutil.Process()
        if gpu is None and accelerator in ("cuda", "gpu"):
            gpu = gpus.find(dict(os.environ))
        self.gpu = gpu
        self.meter = EnergyMeter(gpu)
        self.interval_s = interval_s
        self.clock = clock
        self.wall_clock = wall_clock
        self._done = threading.Event()
        self._thread: threading.Thread | None = None
        self._readings: dict[str, list[float]] = {}
        self._reasons: dict[str, str] = {}
        self._others = 0
        self._start: dict[str, float] = {}
        self._end: dict[str, float] = {}
        self._samples = 0

    def start(self) -> None:
        """Begin sampling."""
        self._start = self._edge()
        self.meter.start()
        self._thread = threading.Thread(target=self._run, name="resources", daemon=True)
        self._thread.start()

    def stop(self) -> Resources:
        """End sampling and say what was found; may be called without `start`."""
        self._done.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
        self._end = self._edge() if self._start else {}
        return self._summary()

    def sample(self) -> None:
        """Take one sample of everything."""
        self._samples += 1
        self._read("rss_mib", lambda: self.process.memory_info().rss / MIB)
        if self.gpu is not None:
            self._read("gpu_percent", self.gpu.busy_percent)
            self._read("gpu_memory_mib", self.gpu.memory_mib)
            self._read("gpu_power_w", self.gpu.power_w)
            self._others = max(self._others, self.gpu.other_processes(os.getpid()) or 0)

    def _run(self) -> None:
        while not self._done.wait(self.interval_s):
            self.sample()

    def _read(self, name: str, reading: Callable[[], float | None]) -> None:
        try:
            value = reading()
        except Exception as fault:  # a reading may fail in as many ways as there are platforms
            self._reasons[name] = str(fault).splitlines()[0][:100] if str(fault) else "unreadable"
            return
        if value is not None:
            self._readings.setdefault(name, []).append(float(value))

    def _edge(self) -> dict[str, float]:
        """Counters whose difference between start and end is of interest."""
        counters: dict[str, Callable[[], float | None]] = {
            "clock_s": self.clock,
            "wall_s": self.wall_clock,
            "own_cpu_s": lambda: sum(self.process.cpu_times()[:2]),
            "busy_cpu_s": self._busy_cpu_s,
            "throttled_s": cpus.throttled_s,
        }
        found = {}
        for name, counter in counters.items():
            try:
                value = counter()
            except Exception:  # likewise
                continue
            if value is not None:
                found[name] = float(value)
        return found

    def _busy_cpu_s(self) -> float:
        """Seconds that the CPUs this run may use have been busy, with whatever."""
        every = self._psutil.cpu_times(percpu=True)
        mine = [every[cpu] for cpu in cpus.allowed() if cpu < len(every)]
        idle = ("idle", "iowait", "steal", "guest", "guest_nice")
        return float(sum(sum(cpu) - sum(getattr(cpu, n, 0.0) for n in idle) for cpu in mine))

    def _passed(self, counter: str) -> float | None:
        if counter in self._start and counter in self._end:
            return max(0.0, self._end[counter] - self._start[counter])
        return None

    def _summary(self) -> Resources:
        elapsed_s = self._passed("clock_s")
        own_s, busy_s = self._passed("own_cpu_s"), self._passed("busy_cpu_s")
        foreign = None
        if elapsed_s and own_s is not None and busy_s is not None:
            foreign = max(0.0, busy_s - own_s) / elapsed_s * 100
        wall_s = self._passed("wall_s")
        suspended_s = None if wall_s is None or elapsed_s is None else max(0.0, wall_s - elapsed_s)
        throttled_s = self._passed("throttled_s")
        energy_j, source, energy_reason = self.meter.stop()
        values = {
            "cpu_percent": own_s / elapsed_s * 100 if own_s is not None and elapsed_s else None,
            "rss_peak_mib": self._peak("rss_mib"),
            "gpu_percent": self._mean("gpu_percent"),
            "gpu_memory_peak_mib": self._peak("gpu_memory_mib"),
            "gpu_power_w": self._mean("gpu_power_w"),
            "energy_j": energy_j,
            "throttled_s": throttled_s,
            "foreign_cpu_percent": foreign,
            "suspended_s": suspended_s,
        }
        return Resources(
            energy_source=source,
            samples=self._samples,
            warnings=self._warnings(values),
            reasons=self._why(values, energy_reason),
            **{name: None if value is None else round(value, 3) for name, value in values.items()},
        )

    def _why(self, values: dict[str, float | None], energy_reason: str) -> dict[str, str]:
        no_gpu = "no NVIDIA GPU in use" if self.gpu is None else "hidden by the driver"
        why = {
            "energy_j": energy_reason,
            "throttled_s": "no cgroup counts it",
            "rss_peak_mib": self._reasons.get("rss_mib", "too short to sample"),
        }
        return {
            name: why.get(name, no_gpu if name.startswith("gpu") else "not sampled")
            for name, value in values.items()
            if value is None
        }

    def _warnings(self, values: dict[str, float | None]) -> list[str]:
        found = []
        foreign, throttled = values["foreign_cpu_percent"], values["throttled_s"]
        if foreign is not None and foreign > FOREIGN_LIMIT_PERCENT:
            found.append(f"other processes used {foreign:.0f} % of a core of this run's CPUs")
        if throttled is not None and throttled > THROTTLED_LIMIT_S:
            found.append(f"the container's CPU limit held the run back for {throttled:.0f} s")
        suspended = values["suspended_s"]
        if suspended is not None and suspended > SUSPENDED_LIMIT_S:
            found.append(f"asleep, or the clock was set, by {suspended:.0f} s")
        if self._others:
            found.append(f"{self._others} other processes computed on the GPU")
        return found

    def _peak(self, name: str) -> float | None:
        return max(self._readings[name]) if self._readings.get(name) else None

    def _mean(self, name: str) -> float | None:
        readings = self._readings.get(name)
        return sum(readings) / len(readings) if readings else None
