"""What is said of the machine's parts, read from made-up machines and from this one."""

import re

import pytest

from mnist_gpu import system
from mnist_gpu.measure import cgroup, cpus, gpus, hardware
from mnist_gpu.protocol.workload import EngineFacts
from tests.machines import FakeNvml, tree

FACTS = EngineFacts("PyTorch", "2.15", "cpu", "float32", "cpu", "cpu")


# --- CPUs ---------------------------------------------------------------------------------------


def test_a_cgroup_v2_quota_is_found_on_the_way_up(tmp_path):
    root = tree(
        tmp_path,
        {
            "proc/self/cgroup": "0::/kubepods/pod1/cri:1\n",
            "sys/fs/cgroup/cpu.max": "max 100000",
            "sys/fs/cgroup/kubepods/cpu.max": "800000 100000",
            "sys/fs/cgroup/kubepods/pod1/cpu.max": "250000 100000",
            "sys/fs/cgroup/kubepods/pod1/cri:1/cpu.max": "max 100000",
        },
    )
    assert cgroup.quota(root) == 2.5


def test_a_cgroup_v1_quota_is_the_tightest_of_those_that_are_nested(tmp_path):
    quotas = {"docker/1/job": "-1", "docker/1": "150000", "docker": "400000"}
    files = {"proc/self/cgroup": "4:memory:/elsewhere\n3:cpu,cpuacct:/docker/1/job\n0::/\n"}
    for group, quota_us in quotas.items():
        files[f"sys/fs/cgroup/cpu/{group}/cpu.cfs_quota_us"] = quota_us
        files[f"sys/fs/cgroup/cpu/{group}/cpu.cfs_period_us"] = "100000"
    assert cgroup.quota(tree(tmp_path, files)) == 1.5


def test_a_container_that_sees_only_its_own_cgroup_finds_its_quota(tmp_path):
    root = tree(
        tmp_path,
        {
            "proc/self/cgroup": "3:cpu,cpuacct:/docker/1\n",
            "proc/self/mountinfo": "33 32 0:29 /docker/1 /cg/cpu ro - cgroup cgroup rw,cpuacct,cpu",
            "cg/cpu/cpu.cfs_quota_us": "150000",
            "cg/cpu/cpu.cfs_period_us": "100000",
        },
    )
    assert cgroup.quota(root) == 1.5


def test_a_cgroup_path_that_only_the_host_has_leads_to_the_top(tmp_path):
    root = tree(
        tmp_path,
        {"proc/self/cgroup": "0::/host/only\n", "sys/fs/cgroup/cpu.max": "300000 100000"},
    )
    assert cgroup.quota(root) == 3.0


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000"},
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "nonsense"},
        {
            "proc/self/cgroup": "3:cpu:/\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        },
    ],
    ids=["nothing", "v2", "unreadable", "v1"],
)
def test_no_quota_is_no_limit(tmp_path, files):
    assert cgroup.quota(tree(tmp_path, files)) is None


def eight_cpus(root, **files: str):
    """CPUs 4 to 7 and 12 to 15 are the hyper-threads of four cores."""
    topology = "sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    siblings = {topology.format(n): f"{n % 8},{n % 8 + 8}" for n in (*range(4, 8), *range(12, 16))}
    return tree(root, {"proc/self/status": "Cpus_allowed_list:\t4-7,12-15\n", **siblings, **files})


def test_hyper_threads_of_a_core_count_once(tmp_path):
    root = eight_cpus(tmp_path)
    assert cpus.allowed(root) == [4, 5, 6, 7, 12, 13, 14, 15]
    assert cpus.physical_cores(root) == 4


@pytest.mark.parametrize(
    ("quota_us", "threads"), [("250000", 2), ("50000", 1), ("9900000", 4), ("max", 4)]
)
def test_threads_fit_into_the_quota_and_are_never_none(tmp_path, quota_us, threads):
    quota = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": f"{quota_us} 100000"}
    assert cpus.threads(eight_cpus(tmp_path, **quota), lambda name: None) == threads


def test_on_apple_silicon_the_performance_cores_compute(tmp_path):
    stated = {"hw.physicalcpu": "8", "hw.perflevel0.physicalcpu": "4"}
    assert cpus.physical_cores(tmp_path, stated.get) == 8
    assert cpus.threads(tmp_path, stated.get) == 4
    del stated["hw.perflevel0.physicalcpu"]
    assert cpus.threads(tmp_path, stated.get) == 8


def test_throttling_is_summed_over_nested_cgroups_of_version_2(tmp_path):
    root = tree(
        tmp_path,
        {
            "proc/self/cgroup": "0::/pod/job\n",
            "sys/fs/cgroup/cpu.stat": "usage_usec 5\n",
            "sys/fs/cgroup/pod/cpu.stat": "nr_throttled 3\nthrottled_usec 2500000\n",
            "sys/fs/cgroup/pod/job/cpu.stat": "nr_throttled 1\nthrottled_usec 500000\n",
        },
    )
    assert cgroup.throttling(root) == cgroup.Throttling(periods=4, of_periods=0, throttled_s=3.0)


def test_throttling_is_read_from_version_1_and_its_nanoseconds(tmp_path):
    root = tree(
        tmp_path,
        {
            "proc/self/cgroup": "3:cpu,cpuacct:/docker\n",
            "sys/fs/cgroup/cpu/docker/cpu.stat": "nr_periods 8\nnr_throttled 2\n"
            "throttled_time 1500000000",
        },
    )
    assert cgroup.throttling(root) == cgroup.Throttling(periods=2, of_periods=8, throttled_s=1.5)
    assert cgroup.throttling(tmp_path / "nowhere") is None


# --- hardware and software ----------------------------------------------------------------------


def test_this_machine_is_described_without_its_name():
    import os

    found = hardware.read(FACTS)
    assert found.threads >= 1
    assert found.ram_gib > 0
    assert found.accelerator_name == found.cpu_model
    text = found.model_dump_json() + hardware.software().model_dump_json()
    assert not re.search(rf"\b{re.escape(os.uname().nodename)}\b", text)


@pytest.mark.parametrize(
    ("files", "gib"),
    [
        ({}, 32.0),
        ({"proc/self/cgroup": "0::/job", "sys/fs/cgroup/job/memory.max": "max"}, 32.0),
        (
            {
                "proc/self/cgroup": "0::/job",
                "sys/fs/cgroup/job/memory.max": "max",
                "sys/fs/cgroup/other/memory.max": f"{4 << 30}",
            },
            32.0,
        ),
        (
            {
                "proc/self/cgroup": "0::/job/1",
                "sys/fs/cgroup/job/memory.max": f"{4 << 30}",
                "sys/fs/cgroup/job/1/memory.max": "max",
            },
            4.0,
        ),
        (
            {
                "proc/self/cgroup": "7:memory:/job",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
                "sys/fs/cgroup/memory/job/memory.limit_in_bytes": f"{2 << 30}",
            },
            2.0,
        ),
    ],
    ids=["no cgroup", "no limit", "somebody else's", "v2 nested", "v1 nested"],
)
def test_memory_is_the_containers_where_that_is_less(tmp_path, files, gib):
    root = tree(tmp_path, {"proc/meminfo": "MemTotal:       33554432 kB\n", **files})
    assert cgroup.memory_bytes(root)[0] == gib * 2**30


def test_only_packages_that_were_imported_are_listed(monkeypatch):
    import sys

    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    found = hardware.packages()
    assert "tensorflow" not in found
    assert found["numpy"]


def on_gpu(name: str) -> EngineFacts:
    return EngineFacts("PyTorch", "2.15", "cuda", "float32", "cuda", name)


def test_a_gpu_is_described_by_its_driver_and_power_limit():
    gpu, _ = gpus.find({}, "Tesla T4", FakeNvml())
    found = hardware.read(on_gpu("Tesla T4"), gpu=gpu)
    assert (found.driver, found.power_limit_w, found.accelerator_name) == (
        "550.54",
        70.0,
        "Tesla T4",
    )


def test_what_a_virtual_gpu_refuses_is_null_with_a_reason():
    gpu, _ = gpus.find({}, None, FakeNvml("nvmlDeviceGetEnforcedPowerLimit"))
    found = hardware.read(on_gpu("GRID A100X-10C"), gpu=gpu)
    assert found.power_limit_w is None
    assert found.reasons["power_limit_w"] == "NVML: Not Supported"


def test_a_run_on_the_cpu_blames_no_driver():
    assert hardware.read(FACTS).reasons["driver"] == "no NVIDIA GPU in use"


# --- which GPU ----------------------------------------------------------------------------------

MIXED = ("Tesla T4", "Tesla T4", "NVIDIA A100", "NVIDIA A100")


@pytest.mark.parametrize(
    ("visible", "name", "handle"),
    [
        (None, None, 0),
        ("2,3", None, 2),
        ("3", "NVIDIA A100", 3),
        # CUDA numbers the fastest first, NVML by bus
        ("0", "NVIDIA A100", 2),
        (None, "NVIDIA A100", 2),
        ("GPU-1111-abcd", None, 1),
        ("GPU-33", "NVIDIA A100", 3),
        ("MIG-5678", "NVIDIA A100 MIG 1g.5gb", "MIG-5678"),
    ],
)
def test_the_gpu_that_cuda_shows_is_the_one_that_is_read(visible, name, handle):
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    gpu, reason = gpus.find(environ, name, FakeNvml(names=MIXED))
    assert (gpu._handle, reason) == (handle, "")


@pytest.mark.parametrize(
    ("visible", "name"), [("", None), ("-1", None), ("7", None), ("GPU-99", None), ("0", "H100")]
)
def test_a_gpu_that_nvml_does_not_show_is_not_mistaken_for_another(visible, name):
    gpu, reason = gpus.find({"CUDA_VISIBLE_DEVICES": visible}, name, FakeNvml(names=MIXED))
    assert (gpu, reason) == (None, "NVML shows no GPU that is the framework's")


def test_a_machine_without_a_driver_has_that_as_reason():
    assert gpus.find({}, None, FakeNvml("nvmlInit")) == (None, "NVML: Not Supported")


def test_what_a_file_says_enters_a_record_as_one_short_line():
    assert system.plain("a\tb\n\x1b[31mc") == "a b [31mc"
    assert len(system.plain("x" * 1000)) == system.LONGEST
