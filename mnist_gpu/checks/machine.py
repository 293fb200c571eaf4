"""The machine that the checks look at, and the few ways in which they look."""

import os
import platform
import re
import shutil
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from mnist_gpu.data import mnist
from mnist_gpu.measure import detect, gpus, signals
from mnist_gpu.paths import choices, shipped
from mnist_gpu.system import ROOT, output_of, text

ANSWER_S = 1.0


def answers(url: str, wait_s: float = ANSWER_S) -> bool:
    """Whether a server says that it has a file, without fetching it."""
    said = threading.Event()

    def ask() -> None:
        with suppress(OSError, ValueError):
            request = urllib.request.Request(url, method="HEAD")  # noqa: S310
            with urllib.request.urlopen(request, timeout=wait_s):  # noqa: S310
                said.set()

    # looking up a name may take longer than any time limit of the connection
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(wait_s)
    return said.is_set()


def present_folder() -> Path:
    """The one this process is in; `.` where that is gone, in which nothing can be written."""
    try:
        return Path.cwd()
    except OSError:
        return Path()


@dataclass(frozen=True)
class Machine:
    """By default this one; a test makes up others."""

    engine: str = "lightning"  # that a run would use
    platform_name: str = "auto"  # that was asked for
    root: Path = ROOT  # where /proc, /sys and /dev are
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    system: str = field(default_factory=platform.system)  # Linux, Darwin or Windows
    arch: str = field(default_factory=platform.machine)  # that this Python was made for
    packages: list[str] = field(default_factory=lambda: sys.path)  # folders
    here: Path = field(default_factory=present_folder)  # runs are written below
    cache: Path = field(default_factory=mnist.default_cache)  # where MNIST is kept
    run: Callable[..., str | None] = output_of  # what a program prints
    answers: Callable[[str], bool] = answers  # whether a web server has a file
    http_get: Callable[[str], str] | None = None  # reads a cloud's metadata
    nvml: Any = None  # the module `pynvml`; None imports it
    disk_usage: Callable[[Path], Any] = shutil.disk_usage
    clock_ns: Callable[[], int] = time.perf_counter_ns
    pause: Callable[[float], None] = time.sleep  # between two readings

    def asks_for(self, accelerator: str) -> bool:
        """Whether a run has to train on it."""
        return self.platform.get("accelerator") == accelerator

    def wants(self, accelerator: str) -> bool:
        """Whether a run could train on it: it was asked for, or nothing was."""
        return self.platform.get("accelerator") in (accelerator, "auto")

    @property
    def pytorch(self) -> bool:
        """Whether a run would use PyTorch."""
        return self.engine in ("lightning", "torch")

    @property
    def mac(self) -> bool:
        """Whether it runs macOS."""
        return self.system == "Darwin"

    def sysctl(self, name: str) -> str | None:
        """One of macOS' system values; None elsewhere."""
        return (self.run("/usr/sbin/sysctl", "-n", name) or None) if self.mac else None

    def distribution(self, name: str) -> metadata.Distribution | None:
        """An installed package, looked at without importing it."""
        return next(iter(metadata.distributions(name=name, path=self.packages)), None)

    def version(self, name: str) -> str | None:
        """The version of an installed package."""
        found = self.distribution(name)
        return None if found is None else found.version

    def stated(self, name: str, path: str, pattern: str) -> str:
        """What a pattern's group matches in a file of an installed package; else empty."""
        package = self.distribution(name)
        source = text(Path(str(package.locate_file(path)))) if package else ""
        found = re.search(pattern, source, re.MULTILINE | re.DOTALL)
        return found[1] if found else ""

    @cached_property
    def detection(self) -> signals.Detection:
        """On which platform this is."""
        return detect.detect(self.environ, self.root, self.sysctl, self.http_get)

    @cached_property
    def platform(self) -> dict[str, Any]:
        """The platform's configuration; with `auto`, of the one that the signals fit best."""
        known = {name: shipped(f"platform/{name}") for name in choices("platform")}
        if self.platform_name != "auto":
            return known[self.platform_name]
        chosen = signals.choose(known, self.detection)
        # any machine fits `cpu`; what a run there trains on is then still its own choice
        return {**known[chosen], "accelerator": "auto"} if chosen else known["auto"]

    @cached_property
    def gpu(self) -> tuple[gpus.Gpu | None, str]:
        """The first NVIDIA GPU that a framework would see, or why there is none; not looked for
        where a run could not train on it."""
        wanted = self.wants("cuda")
        return gpus.find(self.environ, nvml=self.nvml) if wanted else (None, "not wanted")
