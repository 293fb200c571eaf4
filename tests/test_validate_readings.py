"""What `validate` makes of times, outcomes and readings that no machine gives, and of odd ones that
some machine does."""

import math
import random

import pytest

from mnist_gpu.measure.hardware import VECTOR_SETS
from mnist_gpu.records.facts import facts
from mnist_gpu.records.rules import check_record
from mnist_gpu.records.rules.plausible import known_accelerator
from tests.records import NOW, make_record

CUDA = {"accelerator": "cuda", "accelerator_name": "NVIDIA A100-SXM4-40GB", "epoch_s": 1.5}
M1 = {"accelerator": "mps", "hardware__cpu_model": "Apple M1"}
FAMILY = "hardware.cpu_family_model_stepping"
FOREIGN = "resources.foreign_cpu_percent"
LOSS, EVALS = "epochs.*.train_loss", "epochs.*.eval_s"
# what NVML shows of a GPU over a run of some 80 s
READ = {
    "resources__gpu_percent": 40.0,
    "resources__gpu_memory_peak_mib": 900.0,
    "resources__gpu_power_w": 110.0,
    "resources__energy_j": 9000.0,
    "resources__energy_source": "NVML energy counter (the GPU alone)",
    "hardware__power_limit_w": 400.0,
}
NVIDIA_T4 = {**CUDA, **READ, "accelerator_name": "Tesla T4", "hardware__power_limit_w": 70.0}
# a made run of 50 minutes
SLOW = {"epoch_s": 60.0}
EPOCHS = range(50)


def every(field, value_of):
    """One field of every epoch, set."""
    return {f"epochs__{n}__{field}": value_of(n) for n in EPOCHS}


def broken_rules(**changes):
    return {(rule, field) for rule, field, _ in check_record(make_record(**changes), NOW)}


TIMES = [
    ({"timing__startup_s": 1e-9}, "phases_have_their_share", "timing.startup_s"),
    ({"timing__startup_s": 1e6}, "phases_have_their_share", "timing.startup_s"),
    ({"timing__eval_s": 300.0}, "phases_have_their_share", "timing.eval_s"),
    ({**SLOW, "timing__checkpoint_s": 900.0}, "phases_have_their_share", "timing.checkpoint_s"),
    ({"segments": 60}, "epochs_in_order", "timing.segments"),
    (every("eval_s", lambda n: 0.45 + n / 1e6), "clock_digits", "epochs.*.eval_s"),
    (
        {f"epochs__{n}__train_s": 8.9 + n / 10 for n in (3, 4, 9)},
        "clock_digits",
        "epochs.*.train_s",
    ),
    ({"epochs__3__data_wait_s": 0.18 * 0.87654321}, "clock_digits", "epochs.3.data_wait_s"),
    ({"timing__startup_s": 2.5, "timing__warmup_s": 0.4}, "clock_digits", "timing.startup_s"),
    ({"timing__warmup_s": 1.500000208 * 0.4321}, "clock_digits", "timing.warmup_s"),
    (every("data_wait_s", lambda n: 0.0), "waits_within_training", "epochs.*.data_wait_s"),
    (every("data_wait_s", lambda n: 0.18), "waits_within_training", "epochs.*.data_wait_s"),
    (
        every("data_wait_s", lambda n: 8.999 - n / 12345),
        "waits_within_training",
        "epochs.*.data_wait_s",
    ),
]
REPEATED = {
    "backwards": lambda n: min(n, 49 - n) * 7 % 25 * 0.017,
    "in pairs": lambda n: n // 2 * 7 % 25 * 0.017,
    "in blocks of ten": lambda n: n * 7 % 10 * 0.017,
    "in halves": lambda n: n * 7 % 25 * 0.017,
    "in blocks, but for one": lambda n: n * 7 % 16 * 0.017 if n < 49 else 0.5,
    "all but constant": lambda n: n * 7 % 50 * 1e-6,
}
OUTCOMES = [
    (every("train_loss", lambda n: 0.2 / (51 - n) + n / 1e5), "loss_fits_accuracy", LOSS),
    (every("train_loss", lambda n: 0.05 - n / 1e5), "loss_fits_accuracy", "epochs.0.train_loss"),
    ({"epochs__9__train_loss": 0.08}, "loss_fits_accuracy", "epochs.9.train_loss"),
    ({"epochs__0__test_accuracy": 0.994}, "loss_fits_accuracy", "epochs.0.test_accuracy"),
    (
        every("data_wait_s", lambda n: 0.2),
        "waits_within_training",
        "epochs.*.data_wait_s",
    ),
    (every("eval_s", lambda n: 2.5 + n * 7 % 50 * 1.23e-3), "phases_have_their_share", EVALS),
    ({"epochs__9__train_loss": 0.0001}, "loss_bounds_errors", "epochs.9.train_loss"),
    ({"epochs__49__train_loss": 0.9}, "loss_fits_accuracy", "epochs.49.train_loss"),
    ({"epochs__0__train_accuracy": 1.0}, "loss_fits_accuracy", "epochs.0.train_accuracy"),
    (
        {"accuracy": 0.9999, "epochs__49__test_loss": 0.03},
        "loss_fits_accuracy",
        "epochs.49.test_accuracy",
    ),
    (
        {"accuracy": 0.9981, "epochs__49__test_loss": 0.006},
        "loss_fits_accuracy",
        "epochs.49.test_accuracy",
    ),
    (
        every("train_loss", lambda n: 0.2 - n / 500),
        "losses_are_measured",
        "epochs.*.train_loss",
    ),
    (
        every("test_loss", lambda n: 0.04 + n * 7 % 50 * 1e-6),
        "losses_are_measured",
        "epochs.*.test_loss",
    ),
    (
        every("test_accuracy", lambda n: 0.9912),
        "losses_are_measured",
        "epochs.*.test_accuracy",
    ),
]
READINGS = [
    ({"resources__cpu_percent": 12.0}, "processor_time", "resources.cpu_percent"),
    ({**CUDA, "resources__cpu_percent": 0.0}, "processor_time", "resources.cpu_percent"),
    ({"hardware__threads": 2}, "processor_time", "hardware.threads"),
    ({"hardware__threads": 0}, "plausible_hardware", "hardware.threads"),
    ({"hardware__cores": 0}, "plausible_hardware", "hardware.cores"),
    ({"hardware__hypervisor": "docker, kvm"}, "plausible_hardware", "hardware.virtualised"),
    (
        {"platform__signals": {"virtualisation": "QEMU"}},
        "plausible_hardware",
        "hardware.virtualised",
    ),
    ({"precision": "tf32"}, "accelerator_agrees", "engine.precision"),
    ({"accelerator_name": "NVIDIA H100"}, "accelerator_agrees", "hardware.accelerator_name"),
    ({**M1, "software__os": "Linux 6.1"}, "accelerator_agrees", "software.os"),
    ({**M1, "accelerator_name": "Tesla T4"}, "accelerator_agrees", "hardware.accelerator_name"),
    ({**CUDA, "software__os": "macOS 15.2"}, "accelerator_agrees", "software.os"),
    ({**CUDA, "workload__devices": 4}, "accelerator_agrees", "hardware.accelerator_count"),
    ({"resources__rss_peak_mib": 1.0}, "plausible_resources", "resources.rss_peak_mib"),
    (
        {**CUDA, **READ, "resources__gpu_memory_peak_mib": 1e9},
        "plausible_resources",
        "resources.gpu_memory_peak_mib",
    ),
    (
        {**CUDA, **READ, "resources__gpu_power_w": 700.0},
        "plausible_resources",
        "resources.gpu_power_w",
    ),
    ({**NVIDIA_T4}, "plausible_resources", "resources.gpu_power_w"),
    (
        {**CUDA, **READ, "resources__energy_j": 900.0},
        "plausible_resources",
        "resources.energy_j",
    ),
    (
        {**CUDA, **READ, "resources__energy_j": 90_000.0},
        "plausible_resources",
        "resources.energy_j",
    ),
    (
        {"resources__foreign_cpu_percent": 150.0},
        "disturbances_warned",
        "resources.foreign_cpu_percent",
    ),
    ({"resources__throttled_s": 90.0}, "disturbances_warned", "resources.throttled_s"),
    ({"resources__foreign_cpu_percent": 12.0}, "disturbances_warned", FOREIGN),
    (
        {**CUDA, **READ, "hardware__power_limit_w": 700.0},
        "plausible_hardware",
        "hardware.power_limit_w",
    ),
    ({**CUDA, **READ, "resources__energy_j": 5000.0}, "plausible_resources", "resources.energy_j"),
    ({"hardware__cpu_family_model_stepping": "25/17/1"}, "accelerator_agrees", FAMILY),
    ({"hardware__cpu_family_model_stepping": "the newest"}, "accelerator_agrees", FAMILY),
    ({**M1, "hardware__cpu_family_model_stepping": "6/79/0"}, "accelerator_agrees", FAMILY),
    ({"hardware__isa": "warp9"}, "accelerator_agrees", "hardware.isa"),
    ({**NVIDIA_T4, "precision": "tf32"}, "accelerator_agrees", "engine.precision"),
    (
        {"hardware__cpu_model": "Apple M4 Max", "software__os": "Windows 11"},
        "accelerator_agrees",
        "software.os",
    ),
]


@pytest.mark.parametrize(("changes", "rule", "field"), [*TIMES, *OUTCOMES, *READINGS])
def test_what_no_machine_gives_is_refused_by_the_rule_against_it(changes, rule, field):
    assert (rule, field) in broken_rules(**changes)


@pytest.mark.parametrize("pattern", REPEATED.values(), ids=REPEATED)
def test_times_that_repeat_themselves_are_refused_although_a_little_jitter_is_on_them(pattern):
    times = every("train_s", lambda n: round(9 + pattern(n) + 1.003e-6 * n, 9))
    assert ("times_are_measured", "epochs.*.train_s") in broken_rules(**times)


@pytest.mark.parametrize(
    "times",
    [
        every("eval_s", lambda n: round(0.45 + n / 1234.5, 9)),
        every("eval_s", lambda n: round(0.45 + n * 7 % 50 * 1.003e-7, 9)),
        {
            **every("train_s", lambda n: 9 + round(n * 7 % 50 * 0.0123, 9)),
            **every("eval_s", lambda n: round((9 + n * 7 % 50 * 0.0123) / 18, 9)),
        },
    ],
    ids=["rise", "stand still", "a share of training"],
)
def test_evaluations_that_nobody_timed_are_refused(times):
    assert ("times_are_measured", "epochs.*.eval_s") in broken_rules(**times)


@pytest.mark.parametrize(
    "course",
    [
        lambda n, gauss: 9 + gauss(0, 0.002),
        lambda n, gauss: 9 + 0.5 * (n % 2) + gauss(0, 0.01),
        lambda n, gauss: 9 + 0.5 * (n % 5 == 0) + gauss(0, 0.01),
        lambda n, gauss: 9 + 2 * (1 - 0.9**n) + gauss(0, 0.01),
        lambda n, gauss: 9 + math.sin(n / 4) + gauss(0, 0.01),
        lambda n, gauss: 9 + 30 * (n == 1) + gauss(0, 0.01),
        lambda n, gauss: round((9 + gauss(0, 0.01)) / 41.67e-9) * 41.67e-9,
    ],
    ids=["steady", "alternates", "every fifth", "warms up", "swings", "one slow", "24 MHz"],
)
@pytest.mark.parametrize("seed", range(5))
def test_the_times_of_a_machine_are_no_copies_whatever_their_course(course, seed):
    noise = random.Random(seed)
    times = every("train_s", lambda n: round(course(n, noise.gauss), 9))
    named = {rule for rule, field in broken_rules(**times) if field == "epochs.*.train_s"}
    assert named == set()


@pytest.mark.parametrize(
    "changes",
    [
        M1,
        {**SLOW, "resources__cpu_percent": 15.0, "resources__warnings": ["a crowded machine"]},
        {"hardware__cpu_quota": 0.5, "hardware__threads": 1, "resources__cpu_percent": 50.0},
        {"hardware__threads": 2, "hardware__cpu_family_model_stepping": None},
        {"hardware__virtualised": True, "hardware__hypervisor": "docker, kvm"},
        {"hardware__hypervisor": "podman", "resources__foreign_cpu_percent": 10.4},
        {**CUDA, **READ},
        {**CUDA, **READ, "resources__gpu_power_w": None, "hardware__power_limit_w": None},
        {**NVIDIA_T4, "resources__gpu_power_w": 68.0, "resources__energy_j": 5400.0},
        {**NVIDIA_T4, "accelerator_name": "NVIDIA GeForce RTX 4070 Laptop GPU"},
        {**SLOW, "epochs": 3, "segments": 3},
    ],
)
def test_odd_readings_that_some_machine_gives_are_accepted(changes):
    assert broken_rules(**changes) == set()


GRAPHS = {"cuda_graphs": True, "fused_adam": True, "resident_data": True}


@pytest.mark.parametrize(("each_s", "named"), [(0.15, False), (0.6, True)])
def test_an_evaluation_may_take_its_loader_s_time_where_a_replayed_step_takes_none(each_s, named):
    # as on an H200: its host loads an image in 15 us, a replayed step takes 7 an image
    evals = every("eval_s", lambda n: round(each_s + n * 7 % 50 * 1.23e-4, 9))
    made = {
        **CUDA,
        **READ,
        "engine__division": "tuned",
        "engine__switches": GRAPHS,
        "epoch_s": 0.45,
    }
    found = broken_rules(**made, **evals)
    assert (("phases_have_their_share", EVALS) in found) is named


def test_a_slow_disk_takes_a_while_for_fifty_checkpoints_and_is_no_lie():
    # NFS at 5 MB/s; what the sampler and the sum say of it is another matter
    found = broken_rules(**SLOW, timing__checkpoint_s=180.000000417)
    assert "phases_have_their_share" not in {rule for rule, _ in found}


def test_the_precisions_that_the_rules_know_are_those_there_are():
    from mnist_gpu.engines.torch.device import PRECISIONS

    for kind, able in facts("engines")["precisions"].items():
        assert set(PRECISIONS[kind]) <= set(able)


def test_the_vector_sets_that_the_rules_know_are_those_that_a_run_reads():
    assert set(facts("processors")["vector_sets"]) == {*VECTOR_SETS, "neon"}


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("NVIDIA A100-SXM4-80GB", True),
        ("GRID A100X-40C", True),
        ("Tesla V100S-PCIE-32GB", True),
        ("Tesla P100-PCIE-16GB", True),
        ("NVIDIA RTX A1000 Laptop GPU", False),
        ("Quadro P1000", False),
    ],
)
def test_a_card_is_known_by_its_whole_name(name, known):
    hardware = make_record(**{**CUDA, "accelerator_name": name}).hardware
    assert (known_accelerator(hardware) is not None) is known
