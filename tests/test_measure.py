"""What is said of the machine, read from made-up machines and from this one."""

from types import SimpleNamespace

import pytest

from mnist_gpu.engines.base import EngineFacts
from mnist_gpu.measure import cpus, detect, environment, gpus, hardware
from mnist_gpu.measure.energy import EnergyMeter
from mnist_gpu.measure.resources import Sampler

FACTS = EngineFacts("PyTorch", "2.15", "cpu", "float32", "none", 67, "cpu", "cpu")


def tree(root, files: dict[str, str]):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


# --- CPUs ---------------------------------------------------------------------------------------


def test_a_cgroup_v2_quota_is_found_on_the_way_up(tmp_path):
    root = tree(
        tmp_path,
        {
            "proc/self/cgroup": "0::/kubepods/pod1/container\n",
            "sys/fs/cgroup/cpu.max": "max 100000",
            "sys/fs/cgroup/kubepods/cpu.max": "800000 100000",
            "sys/fs/cgroup/kubepods/pod1/cpu.max": "250000 100000",
            "sys/fs/cgroup/kubepods/pod1/container/cpu.max": "max 100000",
        },
    )
    assert cpus.quota(root) == 2.5


def test_a_cgroup_v1_quota_is_found(tmp_path):
    root = tree(
        tmp_path,
        {
            "proc/self/cgroup": "3:cpu,cpuacct:/docker/1\n",
            "sys/fs/cgroup/cpu/docker/1/cpu.cfs_quota_us": "150000",
            "sys/fs/cgroup/cpu/docker/1/cpu.cfs_period_us": "100000",
        },
    )
    assert cpus.quota(root) == 1.5


def test_no_quota_is_no_limit(tmp_path):
    root = tree(tmp_path, {"sys/fs/cgroup/cpu.max": "max 100000"})
    assert cpus.quota(root) is None
    unlimited = {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1"}
    assert cpus.quota(tree(tmp_path / "v1", unlimited)) is None


@pytest.mark.parametrize(("quota_us", "threads"), [("250000", 2), ("50000", 1), ("9900000", None)])
def test_threads_fit_into_the_quota_and_are_never_none(tmp_path, quota_us, threads):
    root = tree(tmp_path, {"sys/fs/cgroup/cpu.max": f"{quota_us} 100000"})
    cores = cpus.physical_cores(root)
    assert cpus.threads(root) == min(threads or cores, cores)


def test_hyper_threads_of_a_core_count_once(tmp_path, monkeypatch):
    monkeypatch.setattr(cpus, "allowed", lambda root: [0, 1, 2, 3])
    files = {
        f"sys/devices/system/cpu/cpu{n}/topology/thread_siblings_list": f"{n % 2},{n % 2 + 2}"
        for n in range(4)
    }
    assert cpus.physical_cores(tree(tmp_path, files)) == 2


def test_throttling_is_read_from_either_cgroup(tmp_path):
    v2 = tree(tmp_path / "2", {"sys/fs/cgroup/cpu.stat": "nr_throttled 3\nthrottled_usec 2500000"})
    v1 = tree(tmp_path / "1", {"sys/fs/cgroup/cpu/cpu.stat": "throttled_time 1500000000"})
    assert cpus.throttled_s(v2) == 2.5
    assert cpus.throttled_s(v1) == 1.5
    assert cpus.throttled_s(tmp_path / "nowhere") is None


# --- hardware and software ----------------------------------------------------------------------


def test_this_machine_is_described_without_its_name():
    import os

    found = hardware.read(FACTS)
    assert found.threads >= 1
    assert found.ram_gib > 0
    assert found.accelerator_name == found.cpu_model
    text = found.model_dump_json() + environment.read().model_dump_json()
    assert os.uname().nodename not in text


def test_memory_is_the_containers_where_that_is_less(tmp_path):
    root = tree(
        tmp_path,
        {
            "proc/meminfo": "MemTotal:       33554432 kB\n",
            "sys/fs/cgroup/memory.max": str(4 * 1024**3),
        },
    )
    assert hardware.ram_gib(root) == 4.0


def test_only_packages_that_were_imported_are_listed(monkeypatch):
    import sys

    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    found = environment.packages()
    assert "tensorflow" not in found
    assert found["numpy"]


class FakeNvml:
    """Stands in for NVIDIA's library: there is no GPU here. `refused` calls raise as on a vGPU."""

    def __init__(self, *refused: str) -> None:
        self.refused = refused
        self.energy_mj = 1_000_000

    def nvmlInit(self) -> None:
        pass

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        return uuid

    def __getattr__(self, name: str):
        if name in self.refused:
            raise RuntimeError("Not Supported")
        answers = {
            "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=87),
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=2048 * 1024**2),
            "nvmlDeviceGetPowerUsage": 65_000,
            "nvmlDeviceGetEnforcedPowerLimit": 70_000,
            "nvmlDeviceGetTotalEnergyConsumption": self.energy_mj,
            "nvmlDeviceGetComputeRunningProcesses": [SimpleNamespace(pid=1)],
        }
        return lambda handle=None: (
            b"550.54" if name == "nvmlSystemGetDriverVersion" else answers[name]
        )


def test_a_gpu_is_described_by_its_driver_and_power_limit():
    facts = EngineFacts("PyTorch", "2.15", "cuda", "float32", "none", 67, "cuda", "Tesla T4")
    found = hardware.read(facts, gpu=gpus.find({}, FakeNvml()))
    assert (found.driver, found.power_limit_w, found.accelerator_name) == (
        "550.54",
        70.0,
        "Tesla T4",
    )


def test_what_a_virtual_gpu_refuses_is_null_with_a_reason():
    facts = EngineFacts("PyTorch", "2.15", "cuda", "float32", "none", 67, "cuda", "GRID A100X-10C")
    gpu = gpus.find({}, FakeNvml("nvmlDeviceGetEnforcedPowerLimit"))
    found = hardware.read(facts, gpu=gpu)
    assert found.power_limit_w is None
    assert found.reasons["power_limit_w"] == "hidden by the driver"


def test_the_gpu_that_cuda_shows_is_the_one_that_is_read():
    assert gpus.find({"CUDA_VISIBLE_DEVICES": "2,3"}, FakeNvml())._handle == 2
    assert gpus.find({"CUDA_VISIBLE_DEVICES": "GPU-1234"}, FakeNvml())._handle == "GPU-1234"


# --- resources ----------------------------------------------------------------------------------


class FakeProcess:
    def __init__(self) -> None:
        self.cpu_s = 0.0
        self.rss = 512 * 1024**2

    def cpu_times(self):
        return (self.cpu_s, 0.0)

    def memory_info(self):
        return SimpleNamespace(rss=self.rss)


class Machine:
    """A clock, a wall clock, a process and what the CPUs were busy with."""

    def __init__(self, **options) -> None:
        self.now_s = self.wall_s = self.busy_s = 0.0
        self.process = FakeProcess()
        self.sampler = Sampler(
            interval_s=3600,
            clock=lambda: self.now_s,
            wall_clock=lambda: self.wall_s,
            process=self.process,
            **options,
        )
        self.sampler._busy_cpu_s = lambda: self.busy_s

    def works(self, seconds: float, own_cores: float = 2.0, foreign_cores: float = 0.0) -> None:
        self.now_s += seconds
        self.wall_s += seconds
        self.process.cpu_s += own_cores * seconds
        self.busy_s += (own_cores + foreign_cores) * seconds


def test_a_quiet_run_has_its_cpu_use_and_no_warning():
    machine = Machine()
    machine.sampler.start()
    machine.works(10)
    machine.sampler.sample()
    found = machine.sampler.stop()
    assert found.cpu_percent == 200.0
    assert found.foreign_cpu_percent == 0.0
    assert found.rss_peak_mib == 512.0
    assert found.warnings == []
    assert "energy_j" in found.reasons or found.energy_j is not None


def test_another_process_on_the_same_cpus_is_warned_of():
    machine = Machine()
    machine.sampler.start()
    machine.works(10, foreign_cores=0.4)
    found = machine.sampler.stop()
    assert found.foreign_cpu_percent == pytest.approx(40.0)
    assert any("other processes used 40 %" in warning for warning in found.warnings)


def test_a_laptop_that_slept_is_warned_of():
    machine = Machine()
    machine.sampler.start()
    machine.works(10)
    machine.wall_s += 1800
    found = machine.sampler.stop()
    assert found.suspended_s == 1800.0
    assert any("asleep" in warning for warning in found.warnings)


def test_a_reading_that_fails_becomes_a_reason_and_never_an_error():
    machine = Machine()

    def denied():
        raise PermissionError("not permitted")

    machine.process.memory_info = denied
    machine.sampler.start()
    machine.sampler.sample()
    found = machine.sampler.stop()
    assert found.rss_peak_mib is None
    assert found.reasons["rss_peak_mib"] == "not permitted"


def test_gpu_use_and_energy_come_from_the_driver():
    nvml = FakeNvml()
    machine = Machine(accelerator="cuda", gpu=gpus.find({}, nvml))
    machine.sampler.start()
    machine.sampler.sample()
    nvml.energy_mj += 90_000
    machine.works(10)
    found = machine.sampler.stop()
    assert (found.gpu_percent, found.gpu_power_w, found.gpu_memory_peak_mib) == (87, 65, 2048)
    assert found.energy_j == 90.0
    assert found.energy_source == "NVML energy counter (GPU)"
    assert any("computed on the GPU" in warning for warning in found.warnings)


def test_energy_is_read_from_rapl_across_its_overflow(tmp_path):
    root = tree(
        tmp_path,
        {
            "intel-rapl:0/energy_uj": "9000000",
            "intel-rapl:0/max_energy_range_uj": "10000000",
            "intel-rapl:0:0/energy_uj": "5",
        },
    )
    meter = EnergyMeter(powercap=root)
    meter.start()
    (root / "intel-rapl:0/energy_uj").write_text("2000000")
    assert meter.stop()[:2] == (3.0, "RAPL package counters (processor)")


def test_without_a_counter_there_is_no_energy_but_a_reason(tmp_path):
    meter = EnergyMeter(powercap=tmp_path)
    meter.start()
    assert meter.stop() == (None, None, "no energy counter that may be read")


# --- platforms ----------------------------------------------------------------------------------


def found(environ=(), root=None, tmp_path=None, chip=None, http_get=None):
    def sysctl(name: str):
        return {"machdep.cpu.brand_string": chip}.get(name)

    return detect.detect(dict(environ), root or tmp_path, sysctl, http_get)


def test_kaggle_is_known_although_it_carries_colabs_tag(tmp_path):
    here = found(
        {"KAGGLE_KERNEL_RUN_TYPE": "Batch", "COLAB_RELEASE_TAG": "release"}, tmp_path=tmp_path
    )
    assert (here.front, here.host) == ("kaggle", "kaggle")
    assert here.signals["KAGGLE_KERNEL_RUN_TYPE"] == "Batch"


def test_colab_jupyterhub_and_slurm_are_known_by_their_variables(tmp_path):
    assert found({"COLAB_RELEASE_TAG": "x"}, tmp_path=tmp_path).front == "colab"
    assert found({"SLURM_JOB_ID": "17"}, tmp_path=tmp_path).front == "slurm"
    hub = found({"JUPYTERHUB_USER": "ada", "JUPYTERHUB_API_TOKEN": "secret"}, tmp_path=tmp_path)
    assert hub.front == "jupyterhub"
    assert "ada" not in str(hub.signals)
    assert "secret" not in str(hub.signals)


def test_a_hub_on_jetstream_is_both(tmp_path):
    root = tree(tmp_path, {"sys/class/dmi/id/product_name": "OpenStack Nova\n"})
    here = found(
        {"JUPYTERHUB_USER": "ada"},
        root,
        http_get=lambda url: '{"name": "secret-name", "meta": {"mnist_gpu_flavor": "g3.xl"}}',
    )
    assert (here.front, here.host) == ("jupyterhub", "jetstream")
    assert here.signals["flavor"] == "g3.xl"
    assert "secret-name" not in str(here.signals)


def test_metadata_is_asked_for_only_on_openstack(tmp_path):
    def never(url: str) -> str:
        raise AssertionError("asked the network")

    assert found({}, tmp_path=tmp_path, http_get=never).host == "none"


def test_an_openstack_that_does_not_answer_is_still_openstack(tmp_path):
    def silent(url: str) -> str:
        raise TimeoutError

    root = tree(tmp_path, {"sys/class/dmi/id/sys_vendor": "OpenStack Foundation"})
    assert found({}, root, http_get=silent).host == "openstack"


@pytest.mark.parametrize(
    ("chip", "verified"),
    [("Apple M1", True), ("Apple M1 Pro", False), ("Apple M1 (Virtual)", False), ("", False)],
)
def test_an_m1_is_known_by_its_exact_brand(tmp_path, chip, verified):
    here = found({}, tmp_path=tmp_path, chip=chip)
    assert detect.matches({"chip": "Apple M1"}, here, "mps") is verified


def test_a_rule_about_the_gpu_looks_at_its_name(tmp_path):
    here = found({"COLAB_RELEASE_TAG": "x"}, tmp_path=tmp_path)
    rule = {"host": "colab", "gpu_contains": "T4"}
    assert detect.matches(rule, here, "Tesla T4")
    assert not detect.matches(rule, here, "NVIDIA A100")
    assert not detect.matches({"planet": "mars"}, here, "Tesla T4")
    assert not detect.matches(None, here, "Tesla T4")


def test_auto_takes_the_platform_that_asks_for_most(tmp_path):
    rules = {"cpu": {}, "m1": {"chip": "Apple M1"}, "kaggle": {"host": "kaggle"}, "x": None}
    kaggle = found({"KAGGLE_URL_BASE": "x"}, tmp_path=tmp_path)
    assert detect.choose(rules, kaggle) == "kaggle"
    assert detect.choose(rules, found({}, tmp_path=tmp_path, chip="Apple M1")) == "m1"
    assert detect.choose(rules, found({}, tmp_path=tmp_path)) == "cpu"
