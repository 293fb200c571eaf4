"""Energy that a counter has read, or none with a reason."""

from types import SimpleNamespace

import pytest

from mnist_gpu.measure.energy import APPLE, RAPL, EnergyMeter
from tests.machines import rapl, tree


def test_energy_is_read_from_rapl_across_its_overflow(tmp_path):
    meter = EnergyMeter(root=rapl(tmp_path, 9_000_000))
    meter.start()
    rapl(tmp_path, 2_000_000)
    meter.tick()
    assert (meter.total_j, meter.source) == (3.0, RAPL)


def test_rapl_that_overflows_twice_is_counted_when_read_in_between(tmp_path):
    meter = EnergyMeter(root=rapl(tmp_path, 9_000_000))
    meter.start()
    for counted_uj in (4_000_000, 9_500_000, 1_500_000):
        rapl(tmp_path, counted_uj)
        meter.tick()
    assert meter.total_j == pytest.approx(12.5)


def test_energy_counters_for_root_only_are_a_reason(tmp_path):
    tree(tmp_path, {"sys/class/powercap/intel-rapl:0/name": "package-0"})
    meter = EnergyMeter(root=tmp_path)
    meter.start()
    assert meter.total_j is None
    assert "only root" in meter.reason


def test_without_a_counter_there_is_no_energy_but_a_reason(tmp_path):
    meter = EnergyMeter(root=tmp_path)
    meter.start()
    meter.tick()
    assert (meter.total_j, meter.source) == (None, None)
    assert meter.reason == "no energy counter to be seen"


def test_a_gpu_run_never_takes_the_processors_energy(tmp_path):
    meter = EnergyMeter(root=rapl(tmp_path, 1_000_000), on_gpu=True)
    meter.start()
    rapl(tmp_path, 2_000_000)
    meter.tick()
    assert (meter.total_j, meter.reason) == (None, "NVML shows no GPU")


def test_a_counter_that_goes_away_leaves_no_half_of_a_sum(tmp_path):
    meter = EnergyMeter(root=rapl(tmp_path, 1_000_000))
    meter.start()
    (tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj").unlink()
    meter.tick()
    assert (meter.total_j, meter.reason) == (None, "the energy counter went away")


def test_apple_counts_processor_and_gpu_together(tmp_path):
    used = SimpleNamespace(cpu_total_mj=3000, gpu_mj=1500)
    apple = SimpleNamespace(begin_window=lambda name: None, end_window=lambda name: used)
    meter = EnergyMeter(root=tmp_path, apple=apple)
    meter.start()
    meter.tick()
    meter.tick()
    assert (meter.total_j, meter.source) == (9.0, APPLE)
