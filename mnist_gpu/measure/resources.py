"""What the run uses while it trains: read beside it, seldom, and never in its way."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

from mnist_gpu.measure import cgroup, clocks, cpus, gpus, load, usage
from mnist_gpu.measure.energy import EnergyMeter
from mnist_gpu.records.schema import Resources
from mnist_gpu.system import ROOT

INTERVAL_S = 1.0
# what takes longer to read is read with every tenth sample
SELDOM = 10
JOIN_S = 5.0
NO_GPU = {
    "cpu": "no accelerator in use",
    "mps": "macOS shows it to administrators only",
}


class Sampler:
    """Reads counters when it starts and stops, and levels from a thread of its own in between.

    Nothing that it does raises: a reading that fails becomes null, with the reason.

    Args:
        accelerator: what the engine trains on; NVML is asked for `cuda` and `gpu` only.
        accelerator_name: the framework's name for it, to find it among several.
        accelerator_count: how many train; the readings of one of several would be no sum, so they
            are left out.
        interval_s: seconds between samples.
        awake_clock: seconds on the clock that stands still while the machine sleeps.
        boot_clock: seconds on the one that does not, or None.
        wall_clock: seconds on the clock that shows the date.
        process: psutil's `Process`, or a stand-in.
        gpu: NVML's view of the GPU, or a stand-in.
        meter: counts the energy.
        root: where `/proc` and `/sys` are.
    """

    def __init__(
        self,
        accelerator: str = "cpu",
        accelerator_name: str | None = None,
        accelerator_count: int = 1,
        interval_s: float = INTERVAL_S,
        awake_clock: Callable[[], float] = clocks.awake_s,
        boot_clock: Callable[[], float | None] = clocks.boot_s,
        wall_clock: Callable[[], float] = clocks.wall_s,
        process: Any = None,
        gpu: gpus.Gpu | None = None,
        meter: EnergyMeter | None = None,
        root: Path = ROOT,
    ) -> None:
        self.interval_s = interval_s
        self.root = root
        self._reasons: dict[str, str] = {}
        on_gpu = accelerator in ("cuda", "gpu")
        self._no_gpu = NO_GPU.get(accelerator, "no counter known for this accelerator")
        if on_gpu and accelerator_count > 1:
            self._no_gpu = f"not read on {accelerator_count} GPUs at once"
        elif gpu is None and on_gpu:
            gpu, self._no_gpu = gpus.find(os.environ, accelerator_name)
        self.gpu = gpu
        self.meter = meter or EnergyMeter(gpu, root, on_gpu=on_gpu)
        self._family = self._try("own_cpu_s", lambda: load.Family(process))
        self._n_cpus = len(self._try("busy_cpu_s", lambda: cpus.allowed(root)) or [0])
        self._clocks = (awake_clock, boot_clock, wall_clock)
        self._passed: dict[str, float] = {}
        self._lost: set[str] = set()
        self._opened: dict[str, float] | None = None
        self._last: dict[str, float] = {}
        self._series: dict[str, list[float]] = {}
        self._notes: dict[str, int] = {}
        self._samples = 0
        self._before: Resources | None = None
        self._edge_lock = threading.Lock()
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def carry(self, before: Resources) -> None:
        """Add what the earlier segments of a resumed run used."""
        self._before = before

    def start(self) -> None:
        """Begin; call it once the engine is warm."""
        self.resume()
        self._thread = threading.Thread(target=self._run, name="resources", daemon=True)
        self._try("thread", self._thread.start)

    def pause(self) -> None:
        """Leave out what comes until `resume`."""
        with self._edge_lock:
            self._close()
            self.meter.pause()

    def resume(self) -> None:
        """Go on after `pause`."""
        with self._edge_lock:
            if self._opened is None:
                self.meter.start()
                self._opened = self._counters()

    def stop(self) -> Resources:
        """End, and say what was used; may be called without `start`, and more than once."""
        self._done.set()
        if self._thread is not None and self._thread.is_alive():
            self._thread.join(timeout=JOIN_S)
        self.pause()
        return self._summary()

    def so_far(self) -> Resources:
        """What has been used up to now, the earlier segments included; for a checkpoint."""
        with self._edge_lock:
            if self._opened is not None:
                self._close()
                self._opened = self._last
                self.meter.tick()
        return self._summary()

    def sample(self) -> None:
        """Read every level once."""
        seldom = self._samples % SELDOM == 0
        self._samples += 1
        family, gpu = self._family, self.gpu
        if family is not None:
            if seldom:
                self._try("children", family.look)
            self._add("rss_mib", family.rss_mib)
        if gpu is not None:
            own = self._try("children", family.pids) if family is not None else None
            self._add("gpu_percent", lambda: gpu.read("gpu_percent"))
            self._add("gpu_power_w", lambda: gpu.read("gpu_power_w"))
            self._add("gpu_memory_mib", lambda: gpu.memory_mib(own or {os.getpid()}))
            self._note("slowed", gpu.read("slowed"))
            if seldom:
                others = gpu.other_processes(own or {os.getpid()}) or 0
                self._notes["others"] = max(self._notes.get("others", 0), others)
        if seldom:
            with self._edge_lock:
                self.meter.tick()

    def _run(self) -> None:
        while not self._done.wait(self.interval_s):
            if self._opened is not None:
                self._try("sample", self.sample)

    def _counters(self) -> dict[str, float]:
        """Everything whose advance is of interest, in seconds or times."""
        awake, boot, wall = self._clocks
        readings: dict[str, Callable[[], float | None]] = {
            "awake_s": awake,
            "boot_s": boot,
            "wall_s": wall,
            "own_cpu_s": self._own_cpu_s,
            "busy_cpu_s": lambda: _part(load.busy_cpu_s(self.root), 0),
            "stolen_cpu_s": lambda: _part(load.busy_cpu_s(self.root), 1),
            "throttled_s": self._throttled_s,
            "slowdowns": lambda: load.slowdowns(self.root),
        }
        self._note("battery", self._try("battery", load.on_battery))
        found = {name: self._try(name, reading) for name, reading in readings.items()}
        return {name: float(value) for name, value in found.items() if value is not None}

    def _close(self) -> None:
        """Credit what has passed since the counters were opened."""
        if self._opened is None:
            return
        self._last = self._counters()
        for name in self._opened.keys() | self._last.keys():
            if name in self._opened and name in self._last:
                advance = self._last[name] - self._opened[name]
                self._passed[name] = self._passed.get(name, 0.0) + advance
            else:
                self._lost.add(name)
        self._opened = None

    def _own_cpu_s(self) -> float | None:
        if self._family is None:
            return None
        self._family.look()
        return self._family.cpu_s()

    def _throttled_s(self) -> float | None:
        found = cgroup.throttling(self.root)
        return None if found is None else found.throttled_s

    def _summary(self) -> Resources:
        passed = {name: value for name, value in self._passed.items() if name not in self._lost}
        awake_s = passed.get("awake_s", 0.0)
        suspended_s, step_s = _sleep(passed)
        shares = usage.shares(passed, self._reasons)
        energy_j = self.meter.total_j
        values = {
            "cpu_percent": shares.own,
            "foreign_cpu_percent": shares.foreign,
            "rss_peak_mib": self._peak("rss_mib"),
            "gpu_percent": self._mean("gpu_percent"),
            "gpu_memory_peak_mib": self._peak("gpu_memory_mib"),
            "gpu_power_w": self._mean("gpu_power_w"),
            "energy_j": energy_j,
            "throttled_s": passed.get("throttled_s"),
            "suspended_s": suspended_s,
        }
        warnings = [
            *usage.load_warnings(shares, self._n_cpus),
            *usage.throttling_warnings(values["throttled_s"], awake_s),
            *clocks.warnings(suspended_s, step_s, "boot_s" in passed),
            *self._machine_warnings(passed),
        ]
        now = Resources(
            energy_source=self.meter.source if energy_j is not None else None,
            samples=self._samples,
            warnings=warnings,
            reasons=self._why(values, shares),
            **{name: None if v is None else round(max(0.0, v), 3) for name, v in values.items()},
        )
        return now if self._before is None else usage.combine(self._before, now)

    def _machine_warnings(self, passed: dict[str, float]) -> list[str]:
        found = []
        if passed.get("slowdowns"):
            found.append(f"heat slowed the processor down {passed['slowdowns']:.0f} times")
        if slowed := self._notes.get("slowed"):
            found.append(
                f"heat or power slowed the GPU down in {slowed} of {self._samples} samples"
            )
        if others := self._notes.get("others"):
            word = "process" if others == 1 else "processes"
            found.append(f"{others} other {word} computed on the GPU")
        if self._notes.get("battery"):
            found.append("the machine ran on its battery")
        return found

    def _why(self, values: dict[str, float | None], shares: usage.Shares) -> dict[str, str]:
        refused = self.gpu.refusals if self.gpu is not None else {}
        sampled = "too short to sample" if self._samples == 0 else "could not be read"
        why = {
            "energy_j": self.meter.reason,
            "throttled_s": "no cgroup counts it",
            "suspended_s": "not measured",
            "rss_peak_mib": self._reasons.get("rss_mib", sampled),
            "gpu_percent": refused.get("gpu_percent", sampled),
            "gpu_memory_peak_mib": refused.get("gpu_memory_mib", sampled),
            "gpu_power_w": refused.get("gpu_power_w", sampled),
            **shares.reasons,
        }
        if self.gpu is None:
            why |= dict.fromkeys(
                ("gpu_percent", "gpu_memory_peak_mib", "gpu_power_w"), self._no_gpu
            )
        return {name: why[name] for name, value in values.items() if value is None}

    def _try(self, name: str, reading: Callable[[], Any]) -> Any:
        try:
            return reading()
        except ImportError:
            self._reasons[name] = "psutil is not installed"
        except Exception as fault:  # a reading may fail in as many ways as there are platforms
            # the kind of fault alone: its text may hold a path or a user's name
            self._reasons[name] = f"unreadable ({type(fault).__name__})"
        return None

    def _add(self, name: str, reading: Callable[[], float | None]) -> None:
        value = self._try(name, reading)
        if value is not None:
            self._series.setdefault(name, []).append(float(value))

    def _note(self, name: str, seen: bool | None) -> None:
        self._notes[name] = self._notes.get(name, 0) + bool(seen)

    def _peak(self, name: str) -> float | None:
        return max(self._series.get(name, ()), default=None)

    def _mean(self, name: str) -> float | None:
        return fmean(self._series[name]) if name in self._series else None


def _part(pair: tuple[float, float] | None, index: int) -> float | None:
    return None if pair is None else pair[index]


def _sleep(passed: dict[str, float]) -> tuple[float | None, float | None]:
    """Seconds asleep, and seconds that the wall clock was moved by; None where unknown."""
    awake_s, boot_s, wall_s = (passed.get(name) for name in ("awake_s", "boot_s", "wall_s"))
    if awake_s is None:
        return None, None
    if boot_s is not None:
        step_s = None if wall_s is None else wall_s - boot_s
        return max(0.0, boot_s - awake_s), step_s
    return (None, None) if wall_s is None else (max(0.0, wall_s - awake_s), None)
