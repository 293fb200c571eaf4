"""What a run used and what disturbed it, on made-up machines."""

import time
from pathlib import Path

import pytest

from mnist_gpu.measure import gpus, usage
from mnist_gpu.measure.energy import NVML, RAPL, EnergyMeter
from mnist_gpu.measure.readings import Resources
from mnist_gpu.measure.resources import Sampler
from tests.machines import FakeNvml, FakeProcess, Machine, rapl, tree


@pytest.fixture
def machine(tmp_path) -> Machine:
    """A machine on which a run is being watched."""
    watched = Machine(tmp_path)
    watched.sampler.start()
    return watched


def warned(found: Resources) -> str:
    return "; ".join(found.warnings)


def gpu_machine(root: Path, nvml: FakeNvml) -> Machine:
    gpu, _ = gpus.find({}, None, nvml)
    return Machine(root, accelerator="cuda", gpu=gpu)


# --- the CPUs -----------------------------------------------------------------------------------


def test_a_quiet_run_has_its_cpu_use_and_no_warning(machine):
    machine.works(10)
    machine.sampler.sample()
    found = machine.sampler.stop()
    assert found.cpu_percent == 150.0
    assert found.foreign_cpu_percent == 0.0
    assert found.rss_peak_mib == 512.0
    assert found.suspended_s == 0.0
    assert found.warnings == []
    assert found.reasons["energy_j"] == "no energy counter to be seen"
    assert found.reasons["gpu_percent"] == "no accelerator in use"


def test_a_run_shorter_than_the_counters_of_cpu_time_can_tell_has_no_cpu_use(machine):
    machine.works(0.008, own=2.5)
    found = machine.sampler.stop()
    assert (found.cpu_percent, found.foreign_cpu_percent) == (None, None)
    assert found.reasons["cpu_percent"] == "too short to tell"
    assert found.reasons["foreign_cpu_percent"] == "too short to tell"


def test_another_process_on_the_same_cpus_is_warned_of(machine):
    machine.works(10, foreign=0.4)
    found = machine.sampler.stop()
    assert found.foreign_cpu_percent == pytest.approx(40.0)
    assert "other processes used 40 % of a CPU, on the 2 CPUs" in warned(found)


def test_time_that_the_hypervisor_kept_back_is_warned_of(machine):
    machine.works(10, stolen=0.3)
    found = machine.sampler.stop()
    assert found.foreign_cpu_percent == 0.0
    assert found.warnings == [
        "the hypervisor kept back 30 % of a CPU, of the 2 CPUs that this run may use"
    ]


def test_what_the_runs_own_children_do_is_its_own(tmp_path):
    machine = Machine(tmp_path)
    child = FakeProcess(pid=4321)
    machine.process.descendants = [child]
    machine.sampler.start()
    machine.works(10, own=1.0, foreign=0.5)
    child.cpu_s += 5
    machine.sampler.sample()
    found = machine.sampler.stop()
    assert (found.cpu_percent, found.foreign_cpu_percent) == (150.0, 0.0)
    assert found.rss_peak_mib == 1024.0


def test_counters_that_leave_this_run_out_say_nothing_of_others(machine):
    machine.works(10)
    machine.busy_s = 0.0
    machine._show()
    found = machine.sampler.stop()
    assert found.foreign_cpu_percent is None
    assert "do not include this run" in found.reasons["foreign_cpu_percent"]


def test_a_quota_that_held_the_run_back_is_warned_of(tmp_path):
    stat = "sys/fs/cgroup/cpu.stat"
    tree(tmp_path, {"proc/self/cgroup": "0::/\n", stat: "nr_throttled 3\nthrottled_usec 500000"})
    machine = Machine(tmp_path)
    machine.sampler.start()
    machine.works(10)
    tree(tmp_path, {stat: "nr_throttled 9\nthrottled_usec 2500000"})
    found = machine.sampler.stop()
    assert found.throttled_s == 2.0
    assert "quota held the run's CPUs back for 2.0 s" in warned(found)


def test_a_processor_that_heat_slowed_down_is_warned_of(tmp_path):
    count = "sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count"
    tree(tmp_path, {count: "5"})
    machine = Machine(tmp_path)
    machine.sampler.start()
    machine.works(10)
    tree(tmp_path, {count: "8"})
    assert machine.sampler.stop().warnings == ["heat slowed the processor down 3 times"]


@pytest.mark.parametrize(("scope", "warned_of"), [("System", True), ("Device", False)])
def test_a_laptop_on_its_battery_is_warned_of_and_a_mouse_is_not(tmp_path, scope, warned_of):
    supply = "sys/class/power_supply/BAT0"
    files = {f"{supply}/type": "Battery", f"{supply}/scope": scope}
    tree(tmp_path, {**files, f"{supply}/status": "Discharging"})
    machine = Machine(tmp_path)
    machine.sampler.start()
    machine.works(10)
    tree(tmp_path, {f"{supply}/status": "Charging"})
    warnings = ["the machine ran on its battery"] if warned_of else []
    assert machine.sampler.stop().warnings == warnings


def test_a_reading_that_fails_becomes_a_reason_and_never_an_error(tmp_path):
    machine = Machine(tmp_path)

    def denied() -> None:
        raise PermissionError("/home/ada is not permitted")

    machine.process.memory_info = denied
    machine.process.cpu_times = denied
    machine.sampler.start()
    machine.works(10)
    machine.sampler.sample()
    found = machine.sampler.stop()
    assert found.rss_peak_mib is None
    assert found.cpu_percent is None
    assert found.reasons["rss_peak_mib"] == "unreadable (PermissionError)"
    assert found.reasons["cpu_percent"] == "unreadable (PermissionError)"
    assert found.reasons["foreign_cpu_percent"] == "unreadable (PermissionError)"
    assert "/home" not in found.model_dump_json()


def test_a_sampler_that_never_started_stops_with_reasons(tmp_path):
    found = Machine(tmp_path).sampler.stop()
    assert (found.cpu_percent, found.energy_j, found.samples) == (None, None, 0)
    assert found.reasons["suspended_s"] == "not measured"


def test_this_machine_can_be_sampled():
    sampler = Sampler()
    sampler.start()
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        sum(range(1000))
    sampler.sample()
    found = sampler.stop()
    assert found.rss_peak_mib > 10
    assert found.cpu_percent > 10


# --- the clocks ---------------------------------------------------------------------------------


def test_a_laptop_that_slept_is_warned_of(machine):
    machine.works(10)
    machine.sleeps(1800)
    found = machine.sampler.stop()
    assert found.suspended_s == 1800.0
    assert found.warnings == ["the machine was asleep for 1800 s"]


def test_a_clock_that_was_set_is_not_taken_for_sleep(machine):
    machine.works(10)
    machine.wall_s -= 3600
    found = machine.sampler.stop()
    assert found.suspended_s == 0.0
    assert "the wall clock was moved by -3600 s" in warned(found)
    assert "asleep" not in warned(found)


def test_without_a_clock_that_tells_them_apart_both_are_named(tmp_path):
    machine = Machine(tmp_path, boot=False)
    machine.sampler.start()
    machine.works(10)
    machine.wall_s += 60
    found = machine.sampler.stop()
    assert found.suspended_s == 60.0
    assert found.warnings == ["the machine was asleep, or its clock was set, for 60 s"]


# --- the GPU ------------------------------------------------------------------------------------


def test_gpu_use_and_energy_come_from_the_driver(tmp_path):
    nvml = FakeNvml()
    machine = gpu_machine(tmp_path, nvml)
    machine.sampler.start()
    machine.sampler.sample()
    nvml.energy_mj += 90_000
    machine.works(10)
    found = machine.sampler.stop()
    assert (found.gpu_percent, found.gpu_power_w, found.gpu_memory_peak_mib) == (87, 65, 2048)
    assert (found.energy_j, found.energy_source) == (90.0, NVML)
    assert found.warnings == []


def test_other_processes_on_the_gpu_are_warned_of(tmp_path):
    nvml = FakeNvml()
    nvml.processes += [(17, 300 * 1024**2), (18, None)]
    machine = gpu_machine(tmp_path, nvml)
    machine.sampler.start()
    machine.sampler.sample()
    assert machine.sampler.stop().warnings == ["2 other processes computed on the GPU"]


def test_in_a_container_one_unknown_process_is_taken_for_the_run(tmp_path):
    nvml = FakeNvml()
    nvml.processes = [(70001, None)]
    machine = gpu_machine(tmp_path, nvml)
    machine.sampler.start()
    machine.sampler.sample()
    assert machine.sampler.stop().warnings == []


def test_gpu_memory_is_the_runs_own_where_nvml_knows_it(tmp_path):
    nvml = FakeNvml()
    machine = gpu_machine(tmp_path, nvml)
    nvml.processes = [(machine.process.pid, 300 * 1024**2), (17, 900 * 1024**2)]
    machine.sampler.start()
    machine.sampler.sample()
    assert machine.sampler.stop().gpu_memory_peak_mib == 300.0


@pytest.mark.parametrize(
    ("bits", "slow"), [(0x40, True), (0x20, True), (0x80, True), (0x04, False), (0x01, False)]
)
def test_a_gpu_slowed_by_heat_is_warned_of_and_one_at_its_power_cap_is_not(tmp_path, bits, slow):
    nvml = FakeNvml()
    nvml.clock_reasons = bits
    machine = gpu_machine(tmp_path, nvml)
    machine.sampler.start()
    machine.sampler.sample()
    machine.sampler.sample()
    assert ("slowed the GPU down in 2 of 2 samples" in warned(machine.sampler.stop())) is slow


def test_what_a_virtual_gpu_refuses_to_tell_has_nvmls_words_as_reason(tmp_path):
    nvml = FakeNvml("nvmlDeviceGetPowerUsage", "nvmlDeviceGetTotalEnergyConsumption")
    machine = gpu_machine(tmp_path, nvml)
    machine.sampler.start()
    machine.sampler.sample()
    found = machine.sampler.stop()
    assert (found.gpu_percent, found.gpu_power_w, found.energy_j) == (87, None, None)
    assert found.reasons["gpu_power_w"] == found.reasons["energy_j"] == "NVML: Not Supported"


# --- resumed runs -------------------------------------------------------------------------------


def test_the_segments_of_a_resumed_run_are_combined(tmp_path):
    first = Machine(tmp_path / "1", meter=EnergyMeter(root=rapl(tmp_path / "1", 0)))
    first.sampler.start()
    first.works(10, own=1.0, foreign=0.5)
    rapl(tmp_path / "1", 4_000_000)
    first.sampler.sample()
    before = first.sampler.so_far()

    second = Machine(tmp_path / "2", meter=EnergyMeter(root=rapl(tmp_path / "2", 0)))
    second.process.rss *= 2
    second.sampler.carry(before)
    second.sampler.start()
    second.works(10, own=2.0)
    second.sleeps(30)
    rapl(tmp_path / "2", 5_000_000)
    for _ in range(3):
        second.sampler.sample()
    found = second.sampler.stop()

    assert (found.energy_j, found.energy_source, found.suspended_s) == (9.0, RAPL, 30.0)
    assert found.samples == 4
    assert found.cpu_percent == (100 * 1 + 200 * 3) / 4
    assert found.rss_peak_mib == 1024.0
    assert "other processes" in warned(found)
    assert "asleep for 30 s" in warned(found)


def test_a_run_goes_on_being_counted_after_a_checkpoint(machine):
    machine.works(10, own=1.0)
    assert machine.sampler.so_far().cpu_percent == 100.0
    machine.works(10, own=2.0)
    assert machine.sampler.stop().cpu_percent == 150.0


def test_a_sum_that_one_segment_lacks_is_null_with_a_reason():
    nothing = dict.fromkeys(
        ("rss_peak_mib", "gpu_percent", "gpu_memory_peak_mib", "gpu_power_w", "throttled_s")
    )
    known = Resources(cpu_percent=100, energy_j=5, energy_source=RAPL, samples=2, **nothing)
    other = known.model_copy(update={"energy_source": NVML})
    unknown = known.model_copy(
        update={"energy_j": None, "energy_source": None, "reasons": {"energy_j": "for root only"}}
    )
    found = usage.combine(known, unknown)
    assert (found.energy_j, found.energy_source) == (None, None)
    assert found.reasons["energy_j"] == "not in every segment: for root only"
    mixed = usage.combine(known, other)
    assert mixed.energy_j is None
    assert mixed.reasons["energy_j"] == "segments with different energy counters"
