"""What the run uses while it trains: read beside it, seldom, and never in its way."""

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from mnist_gpu.measure import cgroup, cpus, gpus, usage
from mnist_gpu.measure.energy import EnergyMeter
from mnist_gpu.measure.gpus import MIB
from mnist_gpu.measure.readings import Resources
from mnist_gpu.system import ROOT

INTERVAL_S = 1.0
# what takes longer to read is read with every tenth sample
SELDOM = 10
JOIN_S = 5.0
Clock = Callable[[], float | None]
GPU_LEVELS = ("gpu_percent", "gpu_power_w", "gpu_memory_mib")
NO_GPU = {
    "cpu": "no accelerator in use",
    "mps": "macOS shows it to administrators only",
}


def _boot_s() -> float | None:
    """Seconds on a clock that goes on while the machine sleeps and that nobody can set."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    if sys.platform == "darwin":
        return time.clock_gettime(time.CLOCK_MONOTONIC_RAW)
    return None


# `awake_s` times the run and stands still while the machine sleeps; `wall_s` shows the date
CLOCKS: Mapping[str, Clock] = {"awake_s": time.perf_counter, "boot_s": _boot_s, "wall_s": time.time}


class Sampler:
    """Reads counters when it starts and stops, and levels from a thread of its own in between.

    Nothing that it does raises: a reading that fails becomes null, with the reason.

    Args:
        accelerator: what the engine trains on; NVML is asked for `cuda` and `gpu` only.
        accelerator_name: the framework's name for it, to find it among several.
        accelerator_count: how many train; the readings of one of several would be no sum, so they
            are left out.
        interval_s: seconds between samples.
        clocks: as `CLOCKS`; one that the machine does not have says None.
        process, gpu, meter, root: stand-ins for psutil's `Process`, NVML's view of the GPU, what
            counts the energy, and the folder of `/proc` and `/sys`.
    """

    def __init__(
        self,
        accelerator: str = "cpu",
        accelerator_name: str | None = None,
        accelerator_count: int = 1,
        interval_s: float = INTERVAL_S,
        clocks: Mapping[str, Clock] = CLOCKS,
        process: Any = None,
        gpu: gpus.Gpu | None = None,
        meter: EnergyMeter | None = None,
        root: Path = ROOT,
    ) -> None:
        self.interval_s = interval_s
        self.root = root
        on_gpu = accelerator == "cuda"
        no_gpu = NO_GPU.get(accelerator, "no counter known for this accelerator")
        if on_gpu and accelerator_count > 1:
            no_gpu = f"not read on {accelerator_count} GPUs at once"
        elif gpu is None and on_gpu:
            gpu, no_gpu = gpus.find(os.environ, accelerator_name)
        self.gpu = gpu
        self.meter = meter or EnergyMeter(gpu, root, on_gpu=on_gpu)
        self._seen = usage.Seen(reasons={} if gpu else dict.fromkeys(GPU_LEVELS, no_gpu))
        self._seen.n_cpus = len(self._try("busy_cpu_s", lambda: cpus.allowed(root)) or [0])
        # this process and its descendants, as of the last look
        self._family: list[Any] = (
            self._try("own_cpu_s", lambda: [process or psutil.Process()]) or []
        )
        self._clocks = clocks
        self._opened: dict[str, float] = {}
        self._before: Resources | None = None
        # the thread and a checkpoint both take what the meter has counted
        self._meter_lock = threading.Lock()
        self._done = threading.Event()
        # a daemon: a reading that hangs must not keep the process alive
        self._thread = threading.Thread(target=self._run, name="resources", daemon=True)

    def carry(self, before: Resources) -> None:
        """Add what the earlier segments of a resumed run used."""
        self._before = before

    def start(self) -> None:
        """Begin; call it once the engine is warm."""
        self.meter.start()
        # what start-up and warming up have used is not the training's
        self._opened = self._counters()
        self._try("thread", self._thread.start)

    def stop(self) -> Resources:
        """End, and say what was used; may be called without `start`."""
        self._done.set()
        if self._thread.is_alive():
            self._thread.join(timeout=JOIN_S)
        return self.so_far()

    def so_far(self) -> Resources:
        """What has been used up to now, the earlier segments included; for a checkpoint."""
        self._tick()
        now = self._counters() if self._opened else {}
        passed = {name: now[name] - self._opened[name] for name in now.keys() & self._opened.keys()}
        refused = self.gpu.refusals if self.gpu is not None else {}
        seen = replace(self._seen, passed=passed, reasons={**self._seen.reasons, **refused})
        total_j = self.meter.total_j
        energy: usage.Reading = self.meter.reason if total_j is None else total_j
        found = usage.summarise(seen, energy, self.meter.source)
        return found if self._before is None else usage.combine(self._before, found)

    def sample(self) -> None:
        """Read every level once."""
        seldom = self._seen.samples % SELDOM == 0
        self._seen.samples += 1
        if seldom:
            self._try("children", self._look)
        self._add("rss_mib", lambda: self._total(lambda one: one.memory_info().rss / MIB))
        if self.gpu is not None:
            self._sample_gpu(self.gpu, seldom)
        if seldom:
            self._tick()

    def _tick(self) -> None:
        with self._meter_lock:
            self.meter.tick()

    def _sample_gpu(self, gpu: gpus.Gpu, seldom: bool) -> None:
        own = {one.pid for one in self._family} or {os.getpid()}
        self._add("gpu_percent", lambda: gpu.read("gpu_percent"))
        self._add("gpu_power_w", lambda: gpu.read("gpu_power_w"))
        self._add("gpu_memory_mib", lambda: gpu.memory_mib(own))
        self._seen.slowed += bool(gpu.read("slowed"))
        if seldom:
            # the most at once: one that came and went has disturbed, too
            self._seen.others = max(self._seen.others, gpu.other_processes(own) or 0)

    def _run(self) -> None:
        while not self._done.wait(self.interval_s):
            self._try("sample", self.sample)

    def _counters(self) -> dict[str, float]:
        """Everything whose advance is of interest, in seconds or times."""
        found = {name: self._try(name, clock) for name, clock in self._clocks.items()}
        found["own_cpu_s"] = self._try("own_cpu_s", self._own_cpu_s)
        # after the run's own, which it has to include
        busy = self._try("busy_cpu_s", lambda: cpus.busy_cpu_s(self.root))
        found["busy_cpu_s"], found["stolen_cpu_s"] = busy or (None, None)
        throttling = self._try("throttled_s", lambda: cgroup.throttling(self.root))
        found["throttled_s"] = throttling and throttling.throttled_s
        found["slowdowns"] = self._try("slowdowns", lambda: cpus.slowdowns(self.root))
        self._seen.on_battery |= bool(self._try("battery", lambda: cpus.on_battery(self.root)))
        return {name: float(value) for name, value in found.items() if value is not None}

    def _own_cpu_s(self) -> float:
        """CPU seconds of all: user, system, and both of those that have ended where it is kept."""
        self._look()
        return self._total(lambda one: sum(one.cpu_times()[:4]))

    def _look(self) -> None:
        """Find the descendants anew; psutil goes through every process of the machine for it."""
        # loaders and compilers are processes of their own, and part of the run
        self._family[1:] = self._family[0].children(recursive=True)

    def _total(self, reading: Callable[[Any], float]) -> float:
        first, *descendants = self._family
        total = reading(first)
        for one in descendants:
            with suppress(Exception):  # it has ended in the meantime
                total += reading(one)
        return total

    def _try(self, name: str, reading: Callable[[], Any]) -> Any:
        try:
            return reading()
        except Exception as exc:  # a reading may fail in as many ways as there are platforms
            # the kind of fault alone: its text may hold a path or a user's name
            self._seen.reasons[name] = f"unreadable ({type(exc).__name__})"
        return None

    def _add(self, name: str, reading: Callable[[], float | None]) -> None:
        value = self._try(name, reading)
        if value is not None:
            self._seen.levels.setdefault(name, []).append(float(value))
