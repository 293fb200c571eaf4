"""`python -m mnist_gpu.validate`: true records are accepted, lies are named."""

import json
import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import pytest

import mnist_gpu
from mnist_gpu.measure.hardware import package_sha256
from mnist_gpu.paths import packaged
from mnist_gpu.protocol.standard import protocol
from mnist_gpu.records.facts import facts
from mnist_gpu.records.rules import check_files, check_record, doubtful
from mnist_gpu.records.rules.registry import RULES
from mnist_gpu.records.schema import Record
from mnist_gpu.records.store import write_record
from mnist_gpu.validate import main
from tests.records import NOW, SET_ASIDE, make_document, make_record, write_records

REPOSITORY = Path(__file__).resolve().parents[1]
CUDA = {"accelerator": "cuda", "accelerator_name": "NVIDIA A100-SXM4-40GB"}
SOMEWHERE = {"unit": "USD", "source": "https://example.org/prices", "as_of": "2026-10-01"}
KAGGLE = {"platform__signals": {"KAGGLE_URL_BASE": "set"}, "platform__detected": "kaggle"}


def broken_rules(record):
    return {(rule, field) for rule, field, _ in check_record(record, NOW)}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"engine": "keras", "seed": 4, "epoch_s": 30.0},
        {"epochs": 1, "dataset": "synthetic"},
        {"model": "mlp", "epoch_s": 0.8},
        {"platform": "jetstream", "kind": "hpc", "epoch_s": 1.5, **CUDA},
        {"precision": "bf16-mixed", "epoch_s": 0.1, **CUDA},
        {"price": {"amount_per_hour": 0.5, "reason": None, **SOMEWHERE}},
        {"platform__claimed": "auto"},
        {"segments": 2, "verified": False},
        {"engine__switches": {"fused_adam": True}, "engine__division": "tuned"},
        {"engine__kernels": ["sparse_linear"], "engine__division": "open"},
        {"platform": "kaggle", "engine": "tensorflow"},
        {"platform": "m1", "accelerator": "mps", "accelerator_name": "mps", "epoch_s": 20.0},
        {"hardware__cpu_model": "ZHAOXIN KaiXian KX-U6780A@2.7GHz"},
        {"hardware__cpu_model": "Intel(R) Xeon(R) CPU           E5620  @ 2.40GHz"},
        {"engine__environment": {"MALLOC_ARENA_MAX": "2"}, "engine__division": "tuned"},
        {"engine__backend": "torch 2.15.0a0+ecf3bae40a.nv26.01"},
        # Keras compiles by itself: not to is a switch
        {
            "engine": "keras",
            "engine__switches": {"jit_compile": False},
            "engine__division": "tuned",
        },
        {"platform": "colab", "price__amount_per_hour": 0.1, "price__as_of": "2026-11-01"},
        {"platform": "colab", "price__unit": "compute units", "price__as_of": "2026-11-01"},
        {"platform": "lab", "platform__label": "\u6771\u4eac GPU\u30b5\u30fc\u30d0\u30fc"},
        {"platform": "lab", "platform__label": "\u039c\u03b7\u03c7\u03b1\u03bd\u03ae A100"},
        {"platform": "lab", "platform__label": "Pho\u0300ng thi\u0301 nghie\u0323\u0302m"},
        {
            "workload__standard": False,
            "workload__deviations": [
                "callbacks Early (standard: none)",
                "trainer.x 1 (standard: 2)",
            ],
        },
        {"status": "interrupted", "status_reason": "Ctrl-C", "result__weights_sha256": None},
    ],
)
def test_a_true_record_is_accepted(changes):
    assert broken_rules(make_record(**changes)) == set()


TOGETHER = ("file", "schema", "run_id_unique", "epoch_times_own", "outcome_own")
RAPL = "RAPL package counters (the whole processor)"
CHIP, FACTS = "platform.signals.chip", "platform_facts"
LIES = [
    ({"resources__suspended_s": 3600.0}, "disturbances_warned", "resources.suspended_s"),
    ({"timing__total_s": 400.0}, "phases_add_up", "timing.total_s"),
    ({"timing__eval_s": 0.5}, "phases_add_up", "timing.total_s"),
    ({"epochs__3__epoch": 5}, "epochs_in_order", "epochs.3.epoch"),
    ({"workload__epochs": 51}, "epochs_in_order", "epochs"),
    ({"epochs__7__train_s": 8.0}, "epochs_add_up", "timing.train_s"),
    ({"epochs__7__eval_s": 800.0}, "epochs_add_up", "timing.eval_s"),
    ({"timing__first_epoch_s": 8.0}, "epoch_figures", "timing.first_epoch_s"),
    ({"timing__steady_epoch_s": None}, "epoch_figures", "timing.steady_epoch_s"),
    ({"result__images_per_s": 9e9}, "rates", "result.images_per_s"),
    ({"result__flops_per_s": None}, "rates", "result.flops_per_s"),
    ({"created_at": "2026-11-24T10:00:00Z"}, "not_in_the_future", "created_at"),
    ({"created_at": "2026-02-30T10:00:00Z"}, "not_in_the_future", "created_at"),
    ({"created_at": "1999-12-31T23:59:59Z"}, "not_in_the_future", "created_at"),
    ({"price__as_of": "2027-01-01"}, "not_in_the_future", "price.as_of"),
    ({"result__test_accuracy": 0.9999}, "last_epoch_counts", "result.test_accuracy"),
    ({"result__test_loss": 0.001}, "last_epoch_counts", "result.test_loss"),
    ({"accuracy": 0.99, "epochs__4__test_accuracy": 0.98765432}, "whole_images", None),
    ({"engine__division": "tuned"}, "division_worked_out", "engine.division"),
    ({"engine__switches": {"compile": True}}, "division_worked_out", "engine.division"),
    ({"engine__kernels": ["sparse_linear"]}, "division_worked_out", "engine.division"),
    ({"engine__environment": {"LD_PRELOAD": "x"}}, "division_worked_out", "engine.division"),
    ({"engine__framework": "TensorFlow"}, "engine_agrees", "engine.framework"),
    ({"engine__backend": "cpu"}, "engine_agrees", "engine.backend"),
    ({"software__packages": {"numpy": "2.4.0"}}, "engine_agrees", "software.packages"),
    ({"engine__switches": {"warp": True}}, "engine_agrees", "engine.switches"),
    ({"engine": "keras", "engine__kernels": ["x"]}, "engine_agrees", "engine.kernels"),
    ({"resources__samples": 600}, "sampler_agrees", "resources.samples"),
    ({"resources__samples": 300}, "sampler_agrees", "resources.samples"),
    ({"resources__cpu_percent": 0.5}, "processor_time", "resources.cpu_percent"),
    ({"resources__cpu_percent": 480.0}, "processor_time", "resources.cpu_percent"),
    ({"timing__warmup_s": 0.0}, "phases_have_their_share", "timing.warmup_s"),
    ({"timing__data_s": -0.0}, "phases_have_their_share", "timing.data_s"),
    ({"timing__other_s": 200.0}, "phases_have_their_share", "timing.other_s"),
    ({"timing__warmup_s": 2000.0}, "phases_have_their_share", "timing.warmup_s"),
    ({"epochs__3__eval_s": 0.0}, "evaluation_speed", "epochs.3.eval_s"),
    ({"epochs__3__eval_s": 1e-6}, "evaluation_speed", "epochs.3.eval_s"),
    ({"epochs__3__train_s": 9.123456789 * 0.87654321}, "clock_digits", "epochs.3.train_s"),
    ({"epochs__3__train_s": 9.5, "epochs__4__train_s": 9.5}, "clock_digits", "epochs.*.train_s"),
    ({"epochs__3__data_wait_s": 50.0}, "waits_within_training", "epochs.3.data_wait_s"),
    ({"timing__data_wait_s": 1.0}, "waits_within_training", "timing.data_wait_s"),
    ({"workload__steps_made": 46899}, "steps_counted", "workload.steps_made"),
    ({"workload__steps_made": 0}, "steps_counted", "workload.steps_made"),
    ({"epochs__49__test_loss": 0.9}, "loss_fits_accuracy", "epochs.49.test_loss"),
    ({"accuracy": 1.0, "epochs__49__test_loss": 0.6}, "loss_fits_accuracy", "epochs.49.test_loss"),
    (
        {"epochs__3__train_accuracy": 0.95123456},
        "whole_training_images",
        "epochs.3.train_accuracy",
    ),
    (
        {"epochs__3__train_loss": 0.1, "epochs__4__train_loss": 0.1},
        "losses_are_measured",
        "epochs.*.train_loss",
    ),
    (
        {f"epochs__{n}__test_loss": 0.2 - n / 500.0 for n in range(50)},
        "losses_are_measured",
        "epochs.*.test_loss",
    ),
    (
        {f"epochs__{n}__train_s": 9 + n / 1234.5 for n in range(50)},
        "times_are_measured",
        "epochs.*.train_s",
    ),
    (
        {f"epochs__{n}__train_s": 9 + n % 25 * 0.017 + n // 25 * 1e-6 for n in range(50)},
        "times_are_measured",
        "epochs.*.train_s",
    ),
    ({"platform": "m1", "platform__signals": {}}, "platform_verified", "platform.verified"),
    ({"platform": "kaggle", "platform__signals": {}}, "platform_verified", "platform.detected"),
    ({"platform__detected": "jetstream"}, "platform_verified", "platform.detected"),
    ({"platform": "kaggle", "platform__kind": "local"}, "platform_facts", "platform.kind"),
    ({"platform": "colab", "price__amount_per_hour": 0.01}, "platform_facts", None),
    ({"platform__label": "Fastest machine"}, "platform_facts", "platform.label"),
    ({"platform": "lab", "platform__label": "TBD"}, "label_readable", "platform.label"),
    ({"platform": "lab", "platform__label": "x" * 61}, "label_readable", "platform.label"),
    ({"platform": "lab", "platform__label": "K\u0430ggle (T4)"}, "label_readable", None),
    (
        {"platform": "lab", "platform__label": "kaggIe(CPU)".replace("I", "l")},
        "label_readable",
        None,
    ),
    ({"platform": "lab", "platform__label": "www.example.org"}, "label_readable", None),
    ({"platform": "lab", "platform__label": "\u05d0\u05d1\u05d2\u05d3"}, "label_readable", None),
    ({"resources__gpu_percent": 50.0}, "accelerator_agrees", "resources.gpu_percent"),
    ({"hardware__driver": "580.1"}, "accelerator_agrees", "hardware.driver"),
    ({"accelerator": "mps"}, "accelerator_agrees", "hardware.cpu_model"),
    ({"hardware__threads": 64}, "plausible_hardware", "hardware.threads"),
    ({"run_id": "constructor"}, "harmless_keys", "run_id"),
    ({"software__packages": {"__proto__": "1"}}, "harmless_keys", None),
    ({"software__os": "token=abcdef"}, "no_private_text", "software.os"),
    ({"software__os": "node 10.0.0.17"}, "no_private_text", "software.os"),
    ({"epochs__9__test_loss": 0.001}, "loss_bounds_errors", "epochs.9.test_loss"),
    ({"epochs__9__train_loss": -1.0}, "loss_bounds_errors", "epochs.9.train_loss"),
    ({"result__weights_sha256": None}, "status_fits", "result.weights_sha256"),
    ({"status": "failed"}, "status_fits", "status_reason"),
    ({"workload__batch_size": 128}, "deviations_declared", "workload.standard"),
    ({"workload__learning_rate": 0.01}, "deviations_declared", "workload.standard"),
    ({"hardware__accelerator_count": 2}, "deviations_declared", "workload.standard"),
    ({"precision": "float64", "epoch_s": 20.0}, "deviations_declared", "workload.standard"),
    ({"epochs": 3, "workload__standard": True}, "deviations_declared", "workload.standard"),
    ({"epochs": 3, "workload__deviations": []}, "deviations_declared", "workload.deviations"),
    (
        {"epochs": 3, "workload__deviations": ["seed 7"]},
        "deviations_declared",
        "workload.deviations",
    ),
    ({"workload__standard": False}, "deviations_declared", "workload.deviations"),
    ({"workload__n_parameters": 10}, "deviations_declared", "workload.standard"),
    ({"workload__n_train": 6000}, "known_workload", "workload.n_train"),
    ({"workload__dataset_sha256": "0" * 64}, "known_workload", "workload.dataset_sha256"),
    ({"workload__flops_per_sample": 1}, "known_workload", "workload.flops_per_sample"),
    ({"platform__claimed": "m1"}, "platform_claim", "platform.claimed"),
    ({"epoch_s": 0.5}, "plausible_speed", "epochs.0.train_s"),
    ({"epoch_s": 0.05, **CUDA}, "plausible_speed", None),
    ({"epoch_s": 0.3, **CUDA, "accelerator_name": "Apple M1"}, "plausible_speed", None),
    ({"epoch_s": 1e-3, **CUDA, "accelerator_name": "Wonder GPU"}, "plausible_speed", None),
    ({"epoch_s": 1.0, "hardware__cpu_quota": 1.0}, "plausible_speed", None),
    ({"hardware__logical_cpus": 10**6}, "plausible_hardware", "hardware.logical_cpus"),
    ({"hardware__ram_gib": 1e12}, "plausible_hardware", "hardware.ram_gib"),
    ({"resources__cpu_percent": 4000.0}, "plausible_resources", "resources.cpu_percent"),
    ({"resources__gpu_percent": 140.0}, "plausible_resources", "resources.gpu_percent"),
    ({"resources__rss_peak_mib": 1e9}, "plausible_resources", "resources.rss_peak_mib"),
    (
        {"resources__energy_j": 1e12, "resources__energy_source": "RAPL"},
        "plausible_resources",
        "resources.energy_j",
    ),
    ({"resources__energy_j": 100.0}, "plausible_resources", "resources.energy_source"),
    (
        {"resources__energy_j": 1e-6, "resources__energy_source": RAPL},
        "plausible_resources",
        "resources.energy_j",
    ),
    (
        {"resources__energy_j": 9e3, "resources__energy_source": "a meter of mine"},
        "plausible_resources",
        "resources.energy_source",
    ),
    (
        {"price": {"amount_per_hour": 1e-300, "reason": None, **SOMEWHERE}},
        "price_consistent",
        "price.amount_per_hour",
    ),
    (
        {"price": {"amount_per_hour": 0.0, "reason": None, **SOMEWHERE}},
        "price_consistent",
        "price.amount_per_hour",
    ),
    ({"price__reason": None}, "price_consistent", "price.reason"),
    ({"price__amount_per_hour": 1.5}, "price_consistent", "price.source"),
    (
        {"price": {"amount_per_hour": 1e6, "reason": None, **SOMEWHERE}},
        "price_consistent",
        "price.amount_per_hour",
    ),
    (
        {"price": {"amount_per_hour": 1.0, "reason": None, **SOMEWHERE, "source": "http://a.b"}},
        "price_consistent",
        "price.source",
    ),
    ({"hardware__cpu_model": "<script>alert(1)</script>"}, "plain_text", "hardware.cpu_model"),
    ({"platform__label": "a\u202eb"}, "plain_text", "platform.label"),
    ({"platform__label": "a\x1b[2Jb"}, "plain_text", "platform.label"),
    ({"platform__label": "a\nb"}, "plain_text", "platform.label"),
    ({"platform__label": "a\u200bb"}, "plain_text", "platform.label"),
    ({"engine__backend": "$(reboot)"}, "plain_text", "engine.backend"),
    ({"engine__backend": "`reboot`"}, "plain_text", "engine.backend"),
    ({"engine__backend": "[a](b)"}, "plain_text", "engine.backend"),
    ({"engine__backend": "JavaScript: x"}, "plain_text", "engine.backend"),
    ({"software__packages": {"<b>": "1"}}, "plain_text", "software.packages (a key)"),
    ({"engine__switches": {"a": "<b>"}}, "plain_text", "engine.switches.a"),
    ({"software__os": "/home/ada/os"}, "no_private_text", "software.os"),
    ({"software__os": r"C:\Users\ada"}, "no_private_text", "software.os"),
    ({"software__os": "see ../../etc/passwd"}, "no_private_text", "software.os"),
    ({"hardware__driver": "ada@example.org"}, "no_private_text", "hardware.driver"),
    ({"engine__switches": {"a": 10**400}}, "safe_numbers", "engine.switches.a"),
    ({"workload__flops_per_sample": 2**60}, "safe_numbers", "workload.flops_per_sample"),
    ({"workload__n_test": 10**400}, "safe_numbers", "workload.n_test"),
    ({"epochs__3__data_wait_s": 1.8e299}, "safe_numbers", "epochs.*.data_wait_s"),
    ({"workload__deviations": ["x"] * 1001}, "short_lists", "workload.deviations"),
    (
        {"epochs": 3, "workload__deviations": ["epochs 49 (standard: 50)"]},
        "deviations_declared",
        None,
    ),
    (
        {"epochs": 3, "workload__deviations": ["epochs 3 (standard: 50)", "the fastest of all"]},
        "deviations_declared",
        "workload.deviations.1",
    ),
    ({"engine__compile": "torch.compile"}, "engine_agrees", "engine.compile"),
    ({"engine__compile": "by hand"}, "engine_agrees", "engine.compile"),
    (
        {"engine": "tensorflow", "engine__switches": {"jit_compile": True}},
        "engine_agrees",
        "engine.compile",
    ),
    ({"engine__kernels": ["warp_drive"]}, "engine_agrees", "engine.kernels"),
    ({"engine__kernels": ["sparse_linear"], **CUDA}, "engine_agrees", "engine.kernels"),
    ({"engine__framework_version": "2.16.0"}, "engine_agrees", "engine.framework_version"),
    ({"engine__framework_version": "2.15 (new)"}, "engine_agrees", "engine.framework_version"),
    ({"engine__backend": "torch 2.16.0"}, "engine_agrees", "engine.backend"),
    ({"software__program_version": "0.1.0, checked"}, "engine_agrees", "software.program_version"),
    ({"engine__switches": {"fused_adam": 0}}, "division_worked_out", "engine.switches.fused_adam"),
    ({"engine__switches": {"fused_adam": "x"}}, "division_worked_out", None),
    ({"engine__switches": {"fused_adam": False}}, "division_worked_out", None),
    ({"engine__switches": {"cuda_graphs": True}}, "engine_agrees", "engine.switches"),
    ({"engine__environment": {"LD_PRELOAD": "x" * 101}}, "division_worked_out", None),
    (
        {"engine": "keras", "engine__switches": {"steps_per_execution": -5}},
        "division_worked_out",
        "engine.switches.steps_per_execution",
    ),
    ({"engine__deviations_from_defaults": []}, "defaults_named", None),
    ({"engine__deviations_from_defaults": SET_ASIDE, **CUDA}, "defaults_named", None),
    (
        {"precision": "tf32", "engine__deviations_from_defaults": [*SET_ASIDE, "TF32 is off"]},
        "defaults_named",
        "engine.deviations_from_defaults",
    ),
    ({"platform": "m1", "hardware__cpu_model": "Apple M1 Max"}, "platform_verified", CHIP),
    ({"platform": "m1", "software__os": "Linux 6.1"}, "platform_verified", CHIP),
    (
        {"platform": "kaggle", "platform__signals": {"KAGGLE_URL_BASE": "set", "chip": "Apple M1"}},
        "platform_verified",
        CHIP,
    ),
    (
        {"platform": "colab", "price__amount_per_hour": 0.001, "price__as_of": "2026-10-01"},
        "platform_facts",
        "price.amount_per_hour",
    ),
    (
        {"platform": "jetstream", "price__free": True, "price__as_of": "2026-10-10"},
        "platform_facts",
        "price.free",
    ),
    (
        {"platform": "jetstream", "price__unit": "USD", "price__as_of": "2026-10-10"},
        "platform_facts",
        "price.unit",
    ),
    ({"platform": "kaggle", "limits__session_s": 1e9, "limits__as_of": "2026-03-18"}, FACTS, None),
    ({"limits__session_s": 1e9}, "platform_facts", "limits.session_s"),
    ({"platform": "lab", "limits__session_s": 1e9}, "price_consistent", "limits.source"),
    ({"limits__as_of": "2026-13-01"}, "not_in_the_future", "limits.as_of"),
    ({"platform": "lab", "platform__label": "KaggIe (T4)"}, "label_readable", "platform.label"),
    ({"platform": "lab", "platform__label": "Jetstrearn2 (A100, g3.xl)"}, "label_readable", None),
    ({"platform": "lab", "platform__label": "\ua4d7aggle GPU"}, "label_readable", None),
    ({"platform": "lab", "platform__label": "a\u0336\u0324\u0310b"}, "label_readable", None),
    ({"platform": "kaggIe", "platform__label": "Our lab"}, "label_readable", "platform.name"),
    ({"platform": "lab", "platform__label": "\u3164\u3164\u3164"}, "plain_text", "platform.label"),
    ({"hardware__cpu_model": "x" * 101}, "label_readable", "hardware.cpu_model"),
    ({"hardware__cpu_model": "AMD EPYC "}, "label_readable", "hardware.cpu_model"),
    ({"hardware__cpu_model": "EPYC, see www.example.org"}, "label_readable", "hardware.cpu_model"),
    ({"hardware__cpu_model": "\u05d0\u05d1"}, "label_readable", "hardware.cpu_model"),
    ({**CUDA, "accelerator_name": "\u5b57" * 9}, "label_readable", "hardware.accelerator_name"),
    ({"software__os": "in /scratch/ada"}, "no_private_text", "software.os"),
    ({"software__os": "ada@node17"}, "no_private_text", "software.os"),
    ({"software__os": "at gpu01.cs.example.edu"}, "no_private_text", "software.os"),
    ({"software__os": "fe80::1ff:fe23:4567:890a"}, "no_private_text", "software.os"),
    ({"software__os": "00-1A-2B-3C-4D-5E"}, "no_private_text", "software.os"),
    ({"software__os": "Bearer abcdef0123456789"}, "no_private_text", "software.os"),
    ({"software__os": "-----BEGIN OPENSSH"}, "no_private_text", "software.os"),
    ({"software__os": "%USERPROFILE%\\run"}, "no_private_text", "software.os"),
    *(
        (
            {"price": {"amount_per_hour": 1.0, "reason": None, **SOMEWHERE, "unit": unit}},
            "price_consistent",
            "price.unit",
        )
        for unit in ("Usd", "USD ", "USD saved a year")
    ),
]


@pytest.mark.parametrize(("changes", "rule", "field"), LIES)
def test_a_lie_is_refused_by_the_rule_against_it(changes, rule, field):
    broken = broken_rules(make_record(**changes))
    assert (rule, field) in broken if field else rule in {name for name, _ in broken}


def test_every_rule_is_described_and_has_a_lie_in_these_tests():
    described = {name for name in facts("rules") if name not in TOGETHER}
    assert set(RULES) <= described
    assert described == {rule for _, rule, _ in LIES}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timing__segments", True),
        ("workload__seed", "0"),
        ("workload__seed", 0.0),
        ("workload__standard", 1),
        ("schema_version", 1),
        ("run_id", "../../etc/passwd"),
        ("platform__name", "a b"),
        ("timing__total_s", -1.0),
        ("timing__total_s", "Infinity"),
        ("epochs__0__test_accuracy", 1.5),
        ("status", "won"),
        ("surprise", 1),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_with_its_field(tmp_path, field, value, capsys):
    path = tmp_path / "record.json"
    path.write_text(json.dumps(make_document(**{field: value})))
    assert main([str(path)]) == 1
    line = capsys.readouterr().out.splitlines()[0]
    assert line.startswith(f"{path}: {field.replace('__', '.')}: ")
    assert line.endswith("[schema]")


def test_good_records_exit_with_0_and_bad_ones_with_1_and_a_line_each(tmp_path, capsys):
    write_records(tmp_path / "good", [make_record(seed=seed) for seed in range(3)])
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == ""
    bad = tmp_path / "bad.json"
    write_record(make_record(seed=9, timing__total_s=1.0), bad)
    assert main([str(tmp_path)]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{bad}: timing.total_s: is 1.0, but the phases add up to 4")


def test_all_records_with_one_run_id_are_refused_by_name(tmp_path):
    records = [make_record(seed=seed, run_id="the-same-id") for seed in range(3)]
    verdict = check_files([write_records(tmp_path, records)], NOW)
    assert verdict.accepted == []
    assert [fault.rule for fault in verdict.faults] == ["run_id_unique"] * 3


def timed(times):
    """A run of another seed that claims these (train_s, eval_s)."""
    trained, evaluated = map(list, zip(*times, strict=True))
    other = make_document(seed=3, epochs=len(times))
    for row, train_s, eval_s in zip(other["epochs"], trained, evaluated, strict=True):
        row["train_s"], row["eval_s"] = train_s, eval_s
    timing, sums = other["timing"], {"train_s": sum(trained), "eval_s": sum(evaluated)}
    timing["total_s"] += sum(sums.values()) - timing["train_s"] - timing["eval_s"]
    timing |= {**sums, "first_epoch_s": trained[0], "steady_epoch_s": median(trained[1:])}
    images_per_s = len(times) * 60000 / sum(trained)
    flops_per_s = images_per_s * other["workload"]["flops_per_sample"]
    other["result"] |= {"images_per_s": images_per_s, "flops_per_s": flops_per_s}
    return Record.model_validate(other)


def times_of(document):
    return [(row["train_s"], row["eval_s"]) for row in document["epochs"]]


def copied(document, factor=None, backwards=False):
    """The same run under another id and seed: exact, with jitter, or from its end."""
    noise, times = random.Random(1), times_of(document)
    times = [times[0], *(reversed(times[1:]) if backwards else times[1:])]
    if factor is None:
        return timed(times)
    own = times_of(make_document(seed=3))
    jittered = [round(train_s * (1 + factor * noise.uniform(-1, 1)), 9) for train_s, _ in times]
    return timed([(train_s, eval_s) for train_s, (_, eval_s) in zip(jittered, own, strict=True)])


@pytest.mark.parametrize(
    "changes", [{}, {"backwards": True}, {"factor": 2e-4}, {"factor": 2e-4, "backwards": True}]
)
def test_epoch_times_of_another_run_are_refused_in_both(tmp_path, changes):
    records = [make_record(), make_record(seed=1), copied(make_document(), **changes)]
    verdict = check_files([write_records(tmp_path, records)], NOW)
    assert {fault.rule for fault in verdict.faults} == {"epoch_times_own"}
    assert [run.record.workload.seed for run in verdict.accepted] == [1]


def with_training_of(document, times):
    """These times, and of the training as many of the document's, in whatever order."""
    trained = random.Random(1).sample(times_of(document), len(times))
    return [(train_s, eval_s) for (train_s, _), (_, eval_s) in zip(trained, times, strict=True)]


@pytest.mark.parametrize(
    "part",
    [
        lambda one, other: times_of(one)[:25],
        lambda one, other: times_of(one)[:4],
        lambda one, other: times_of(one)[:20] + times_of(other)[20:],
        lambda one, other: with_training_of(one, times_of(other)),
        lambda one, other: [
            (t, e) for (t, _), (_, e) in zip(times_of(other), times_of(one), strict=True)
        ],
    ],
    ids=["trimmed", "to four epochs", "spliced", "shuffled", "its evaluations"],
)
def test_a_run_of_which_a_part_is_anothers_is_refused_with_it(tmp_path, part):
    one, third = make_document(), make_document(seed=4)
    # the other one is not among the records
    made = timed(part(one, make_document(seed=1)))
    records = [Record.model_validate(one), Record.model_validate(third), made]
    verdict = check_files([write_records(tmp_path, records)], NOW)
    assert {fault.rule for fault in verdict.faults} == {"epoch_times_own"}
    assert [run.record.workload.seed for run in verdict.accepted] == [4]


def test_losses_of_another_seed_are_refused_though_the_last_is_another(tmp_path):
    one = make_record()
    losses = {f"epochs__{n}__test_loss": row.test_loss for n, row in enumerate(one.epochs[:-1])}
    for name, changes in {"seed": {"seed": 1}, "model": {"workload__batch_size": 128}}.items():
        declared = {
            "workload__standard": False,
            "workload__deviations": ["batch_size 128 (standard: 64)"],
            "workload__steps_made": 50 * 469,
        }
        other = make_record(**losses, **changes, **(declared if name == "model" else {}))
        other = other.model_copy(update={"run_id": f"another-{name}"})
        verdict = check_files([write_records(tmp_path / name, [one, other])], NOW)
        assert {fault.rule for fault in verdict.faults} == {"outcome_own"}, verdict.faults
        assert len({fault.path for fault in verdict.faults}) == 2
    # a shorter run of the same seed begins as the longer one does
    short = make_record(
        epochs=25, **{k: v for k, v in losses.items() if int(k.split("__")[1]) < 24}
    )
    verdict = check_files([write_records(tmp_path / "short", [one, short])], NOW)
    assert verdict.faults == []


def test_weights_or_losses_of_another_seed_are_refused_and_of_another_machine_are_not(tmp_path):
    one = make_record()
    weights = {"result__weights_sha256": one.result.weights_sha256}
    other = make_record(seed=1, **weights)
    verdict = check_files([write_records(tmp_path / "seed", [one, other])], NOW)
    assert [fault.rule for fault in verdict.faults] == ["outcome_own"] * 2
    honest = make_record(platform="lab", **weights)
    verdict = check_files([write_records(tmp_path / "machine", [one, honest])], NOW)
    assert verdict.faults == []
    losses = {f"epochs__{n}__test_loss": row.test_loss for n, row in enumerate(one.epochs)}
    losses["result__test_loss"] = one.result.test_loss
    keras = make_record(engine="keras", **losses)
    verdict = check_files([write_records(tmp_path / "engine", [one, keras])], NOW)
    assert [fault.rule for fault in verdict.faults] == ["outcome_own"] * 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"software__git_commit": "1" * 40}, "history does not hold"),
        ({"software__git_commit": None}, "no commit and no release"),
        ({"created_at": "2025-01-01T00:00:00Z"}, "before the commit"),
        (
            {**CUDA, "platform": "cuda", "accelerator_name": "Wonder GPU"},
            "Wonder GPU is in no list",
        ),
        ({"platform": "cloud9", "kind": "cloud"}, "none that this project can verify"),
        ({"software__program_version": "9.9.9"}, "program version 9.9.9 is none"),
        (CUDA, "platform cpu is one with cpu, and cuda trained"),
        ({"platform": "cuda"}, "platform cuda is one with cuda, and cpu trained"),
        ({**KAGGLE, "platform": "cpu"}, "the signals say kaggle"),
        ({**KAGGLE, "platform": "lab"}, "the signals say kaggle"),
        ({"platform": "kaggle_fast"}, "name or label speaks of Kaggle"),
        (
            {
                **{**CUDA, "platform": "jetstream"},
                "platform__signals": {"dmi": "OpenStack Nova", "flavor": "g3.medium"},
            },
            "ran on flavor g3.medium",
        ),
        (
            {"platform": "lab", "platform__label": "My Col\u00e0b GPU"},
            "name or label speaks of Colab",
        ),
        ({"platform": "lab", "platform__label": "Our AWS p5.48xlarge"}, "its label says AWS"),
        (
            {"engine__environment": {"SECRET_SAUCE": "on"}, "engine__division": "tuned"},
            "SECRET_SAUCE is in no list",
        ),
    ],
)
def test_what_nobody_can_look_up_is_a_doubt_and_no_fault(tmp_path, changes, said):
    record = make_record(**changes)
    verdict = check_files([write_records(tmp_path, [record])], NOW)
    assert verdict.faults == []
    (line,) = verdict.doubts[record.run_id]
    assert said in line


def test_a_platform_of_ones_own_that_its_signals_speak_for_is_not_doubted(tmp_path):
    record = make_record(
        platform="m1_pro",
        platform__label="M1 MacBook, the Pro",
        platform__signals={"chip": "Apple M1 Pro"},
        platform__detected="apple",
        hardware__cpu_model="Apple M1 Pro",
        software__os="macOS 15.2",
    )
    verdict = check_files([write_records(tmp_path, [record])], NOW)
    assert (verdict.faults, verdict.doubts) == ([], {})


@pytest.mark.parametrize("label", ["Eco Lab", "Marco-lab", "Collab GPU"])
def test_a_label_that_only_holds_the_letters_of_colab_is_not_doubted(tmp_path, label):
    record = make_record(platform="lab", platform__label=label)
    assert check_files([write_records(tmp_path, [record])], NOW).doubts == {}


def test_files_that_are_not_those_of_the_commit_are_a_doubt(tmp_path, monkeypatch):
    def said(**software):
        record = make_record(**{f"software__{name}": value for name, value in software.items()})
        folder = write_records(tmp_path / str(len(list(tmp_path.iterdir()))), [record])
        return check_files([folder], NOW).doubts.get(record.run_id, [])

    monkeypatch.setattr(doubtful, "package_of", lambda commit: "5" * 64)
    assert said(package_sha256="5" * 64) == []
    (line,) = said(package_sha256="6" * 64)
    assert "other files than those of the commit" in line
    assert said(package_sha256=None) == [line]
    early = {"0" * 40: datetime(2025, 1, 1, tzinfo=UTC)}
    monkeypatch.setitem(facts("releases"), "schema_since", "2025-06-01T00:00:00Z")
    monkeypatch.setattr(doubtful, "history", lambda: early)
    (line,) = said(package_sha256="5" * 64)
    assert "wrote no such records" in line


def test_the_package_of_a_commit_has_the_digest_that_a_run_of_it_records(tmp_path, monkeypatch):
    def git(*arguments):
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    package = tmp_path / "mnist_gpu"
    (package / "inner").mkdir(parents=True)
    for name in ("a.py", "inner/b.c", "inner/data.yaml"):
        (package / name).write_text(name)
    git("init")
    git("add", ".")
    git("commit", "-m", "one")
    git("tag", "one")
    monkeypatch.setattr(doubtful, "PACKAGE", package)
    doubtful.package_of.cache_clear()
    assert doubtful.package_of("one") == package_sha256(package)
    (package / "a.py").write_text("changed")
    assert doubtful.package_of("one") != package_sha256(package)
    assert doubtful.package_of("two") is None
    doubtful.package_of.cache_clear()


def test_this_program_is_among_those_that_are_known():
    assert mnist_gpu.__version__ in facts("releases")["program_versions"]
    kernels = set(packaged("engines/torch/kernels/kernels"))
    assert kernels <= set(facts("engines")["kernels"])


def test_one_file_named_twice_is_no_duplicate(tmp_path):
    write_record(make_record(), tmp_path / "record.json")
    verdict = check_files([tmp_path, tmp_path / "record.json", tmp_path], NOW)
    assert len(verdict.accepted) == 1
    assert not verdict.faults


def test_a_clock_that_is_minutes_ahead_is_no_lie():
    soon = (NOW + timedelta(minutes=20)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert broken_rules(make_record(created_at=soon)) == set()


def test_many_records_are_judged_alike_in_several_processes(tmp_path, monkeypatch):
    from mnist_gpu.records.rules import files

    records = [make_record(seed=seed) for seed in range(6)]
    records[4] = make_record(seed=4, timing__total_s=1.0)
    folder = write_records(tmp_path, records)
    alone = check_files([folder], NOW)
    monkeypatch.setattr(files, "WORTH_PROCESSES", 2)
    monkeypatch.setattr(files, "CHUNK", 2)
    together = check_files([folder], NOW)
    assert together == alone
    assert len(together.accepted) == 5


def test_the_name_of_a_file_cannot_act_on_the_terminal(tmp_path, capsys):
    path = tmp_path / "x\n::error::\x1b[31m.json"
    path.write_text("{")
    assert main([str(path)]) == 1
    assert capsys.readouterr().out.count("\n") == 1


def test_a_missing_path_is_one_line_and_1(capsys):
    assert main(["nowhere"]) == 1
    assert capsys.readouterr().err == "mnist-gpu: nowhere: no such file or folder\n"


def test_wrong_usage_exits_with_2():
    with pytest.raises(SystemExit) as exit_:
        main([])
    assert exit_.value.code == 2


def test_the_rules_can_be_read(capsys):
    assert main(["--rules"]) == 0
    assert "plausible_speed" in capsys.readouterr().out


def test_help_imports_nothing_heavy():
    code = (
        "import sys; sys.argv = ['validate', '--help']\n"
        "from mnist_gpu import validate\nfrom mnist_gpu.report import __main__ as report\n"
        "heavy = {'torch', 'scipy', 'pyarrow', 'pandas', 'pydantic', 'hydra'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "validate.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "FILE: field: reason" in done.stdout


def test_the_protocol_the_rules_know_is_the_one_that_is_run():
    from mnist_gpu.paths import shipped
    from mnist_gpu.protocol.network import Network

    known = protocol()
    for name in ("epochs", "batch_size", "learning_rate", "devices", "num_nodes", "scaling"):
        assert known["standard"][name] == shipped("train")[name]
    network = Network.from_config("cnn", shipped("model/cnn")["layers"])
    assert known["network"]["n_parameters"] == network.n_parameters
    assert known["network"]["flops_per_sample"] == network.flops_per_sample


def test_facts_that_age_carry_a_date_and_a_source():
    for unit, row in facts("conversions")["units"].items():
        assert row["source"], unit
        assert row["as_of"] <= datetime.now(UTC).date(), unit
    for entry in facts("peaks")["accelerators"]:
        assert entry["source"], entry
    assert facts("peaks")["as_of"] <= datetime.now(UTC).date()


@pytest.mark.parametrize("change", ["edit", "delete", "add"])
def test_a_pull_request_may_add_records_and_change_none(tmp_path, change):
    def git(*arguments):
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    record = tmp_path / "results" / "lab" / "one" / "record.json"
    record.parent.mkdir(parents=True)
    record.write_text("{}")
    git("init", "-b", "base")
    git("add", ".")
    git("commit", "-m", "one")
    git("checkout", "-b", "request")
    if change == "delete":
        record.unlink()
    else:
        (record if change == "edit" else record.with_name("two.json")).write_text("[]")
    git("add", "-A")
    git("commit", "-m", "two")
    script = [str(REPOSITORY / "scripts" / "append_only"), "base"]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == (change != "add")
    assert ("results/lab/one/record.json" in done.stderr) is (change != "add")
