"""Machines that are made up: a root folder, clocks, processes and NVIDIA's library."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mnist_gpu.checks import Machine as Patient
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
        self.busy_percent = 87
        self.free_mib = 12_000
        self.driver = "550.54"
        self.cuda = 12_040
        self.capability = (7, 5)
        self.refusal = "Not Supported"

    def nvmlDeviceGetCount(self) -> int:
        return len(self.names)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        return uuid

    def nvmlDeviceGetName(self, handle: int) -> str:
        return self.names[handle]

    def nvmlDeviceGetUUID(self, handle: int) -> str:
        return f"GPU-{handle}{handle}{handle}{handle}-abcd"

    def __getattr__(self, name: str) -> Any:
        answers = {
            "nvmlInit": None,
            "nvmlSystemGetDriverVersion": self.driver,
            "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=self.busy_percent),
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(
                used=2048 * 1024**2, free=self.free_mib * 1024**2
            ),
            "nvmlDeviceGetCudaComputeCapability": self.capability,
            "nvmlSystemGetCudaDriverVersion_v2": self.cuda,
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
                raise RuntimeError(self.refusal)
            return answers[name]

        return answer


class FakeProcess:
    """psutil's `Process`, with CPU time that the test spends."""

    def __init__(self, pid: int = 0) -> None:
        self.pid = pid or os.getpid()
        self.cpu_s = 0.0
        self.rss = 512 * 1024**2
        self.descendants: list[FakeProcess] = []

    def cpu_times(self) -> tuple[float, ...]:
        """User, system, and both of children that have ended."""
        return (self.cpu_s, 0.0, 0.0, 0.0)

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
            clocks={
                "awake_s": lambda: self.awake_s,
                "boot_s": lambda: self.boot_s if boot else None,
                "wall_s": lambda: self.wall_s,
            },
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


PACKAGES = {
    "mnist-gpu": "0.2",
    "torch": "2.15.0",
    "torchvision": "0.29.2",
    "lightning": "2.6.6",
    "nvidia-ml-py": "13.0",
}
REQUIRES = (
    "torch>=2.10",
    "lightning<3,>=2.5",
    "nvidia-ml-py>=12",
    'keras<4,>=3.10; extra == "keras"',
    'tensorflow>=2.19; extra == "keras"',
    'tensorflow>=2.19; extra == "tensorflow"',
    'mlx>=0.29; sys_platform == "darwin" and extra == "mlx"',
    'mlx[cpu]>=0.29; sys_platform == "linux" and extra == "mlx"',
)
MIRRORS = 'mirrors = [\n        "https://mirror.example/mnist/",\n    ]\n'
M1 = {
    "machdep.cpu.brand_string": "Apple M1",
    "hw.logicalcpu": "8",
    "hw.physicalcpu": "8",
    "hw.perflevel0.physicalcpu": "4",
}


def installed(root: Path, versions: dict[str, str | None], cuda: str | None) -> Path:
    """A folder of packages that can be looked at and not imported."""
    site = root / "site-packages"
    for name, version in versions.items():
        if version is None:
            continue
        needs = "".join(f"Requires-Dist: {line}\n" for line in REQUIRES)
        about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        folder = f"{name.replace('-', '_')}-{version}.dist-info"
        tree(site, {f"{folder}/METADATA": about + (needs if name == "mnist-gpu" else "")})
    stated = f"cuda: Optional[str] = {cuda!r}\nhip: Optional[str] = None\n"
    return tree(site, {"torch/version.py": stated, "torchvision/datasets/mnist.py": MIRRORS})


def cpus(there: int, mine: str, threads_a_core: int = 1) -> dict[str, str]:
    """Files of a machine with that many CPUs, of which a process may run on `mine`."""
    cores = there // threads_a_core
    listed = {
        f"sys/devices/system/cpu/cpu{n}/topology/thread_siblings_list": ",".join(
            str(sibling) for sibling in range(n % cores, there, cores)
        )
        for n in range(there)
    }
    return {
        "proc/self/status": f"Cpus_allowed_list:\t{mine}\n",
        "sys/devices/system/cpu/online": f"0-{there - 1}\n",
        "proc/meminfo": "MemTotal: 33554432 kB\nMemAvailable: 16777216 kB\n",
        **listed,
    }


def limited(quota_us: str, stat: str = "nr_periods 1000\nnr_throttled 1\n") -> dict[str, str]:
    """Files of a container that may use so many microseconds of CPU time in 100,000."""
    return {
        "proc/self/cgroup": "0::/\n",
        "sys/fs/cgroup/cpu.max": f"{quota_us} 100000",
        "sys/fs/cgroup/cpu.stat": f"throttled_usec 1\n{stat}",
    }


def patient(
    root: Path,
    files: dict[str, str] | None = None,
    packages: dict[str, str | None] | None = None,
    cuda: str | None = "13.2",
    commands: dict[str, str] | None = None,
    sysctl: dict[str, str] | None = None,
    busy: dict[str, float] | None = None,
    shm_mib: int = 8192,
    free_mib: int = 500_000,
    **options: Any,
) -> Patient:
    """A machine for the doctor: a sound Linux server of eight cores, but for what is said.

    Args:
        root: an empty folder.
        files: in `/proc` and `/sys`.
        packages: installed versions; None for one that is not.
        cuda: that PyTorch is built with.
        commands: what programs print, by their words.
        sysctl: macOS' values; makes it a Mac.
        busy: CPUs that are `busy`, `stolen` or `hot` while it is watched.
        shm_mib: size of `/dev/shm`.
        free_mib: room on its disk.
        **options: of the doctor's `Machine`.
    """
    tree(root, {**cpus(8, "0-7"), "dev/shm/.keep": "", **(files or {})})
    said = dict(commands or {})
    if sysctl is not None:
        said |= {f"/usr/sbin/sysctl -n {name}": value for name, value in sysctl.items()}
        options = {"system": "Darwin", "arch": "arm64", **options}
    watched = {"busy": 0.0, "stolen": 0.0, "hot": 0, **(busy or {})}

    def ticks(passed_s: float) -> None:
        used, stolen = (round(watched[n] * passed_s * TICKS_PER_S) for n in ("busy", "stolen"))
        hot = round(watched["hot"] * passed_s)
        lines = f"cpu0 {used + 900000} 0 0 9 0 0 0 {stolen} 0 0\ncpu1 0 0 0 9 0 0 0 0 0 0\n"
        count = "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"
        tree(root, {"proc/stat": lines, count: str(7 + hot)})

    def usage(folder: Path) -> SimpleNamespace:
        mib = 1024**2
        total = shm_mib if folder.name == "shm" else 1_000_000
        return SimpleNamespace(total=total * mib, free=free_mib * mib)

    if sysctl is None:
        ticks(0)
    now_ns = iter(range(0, 10**12, 50))
    defaults: dict[str, Any] = {
        "root": root,
        "environ": {},
        "system": "Linux",
        "arch": "x86_64",
        "packages": [str(installed(root, PACKAGES | (packages or {}), cuda))],
        "here": root,
        "cache": root / "cache",
        "run": lambda *words: said.get(" ".join(words)),
        "answers": lambda url: url.startswith("https://mirror.example/mnist/train"),
        "http_get": lambda url: "{}",
        "nvml": FakeNvml("nvmlInit"),
        "disk_usage": usage,
        "clock_ns": lambda: next(now_ns),
        "pause": ticks if sysctl is None else lambda seconds: None,
    }
    return Patient(**defaults | options)


def card(
    name: str = "NVIDIA H100 80GB HBM3",
    driver: str = "580.95.05",
    cuda: int = 13_000,
    capability: tuple[int, int] = (9, 0),
    **facts: Any,
) -> FakeNvml:
    """An NVIDIA GPU that is idle."""
    nvml = FakeNvml(names=(name,))
    nvml.processes, nvml.busy_percent = [], 0
    nvml.driver, nvml.cuda, nvml.capability = driver, cuda, capability
    for fact, value in facts.items():
        setattr(nvml, fact, value)
    return nvml
