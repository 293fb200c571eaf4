"""`python -m mnist_gpu.validate`: true records are accepted, lies are named."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mnist_gpu.protocol.standard import protocol
from mnist_gpu.records.facts import facts
from mnist_gpu.records.rules import check_files, check_record
from mnist_gpu.records.rules.registry import RULES
from mnist_gpu.records.store import write_record
from mnist_gpu.validate import main
from tests.records import NOW, make_document, make_record, write_records

REPOSITORY = Path(__file__).resolve().parents[1]
CUDA = {"accelerator": "cuda", "accelerator_name": "NVIDIA A100-SXM4-40GB"}
SOMEWHERE = {"unit": "USD", "source": "https://example.org/prices", "as_of": "2026-10-01"}


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
        {"engine__tuning": {"fused_adam": True, "order": ["conv", "pool"], "rate": 0.5}},
        {"status": "interrupted", "status_reason": "Ctrl-C", "result__weights_sha256": None},
    ],
)
def test_a_true_record_is_accepted(changes):
    assert broken_rules(make_record(**changes)) == set()


PAIR = {"seeds": [0, 1], "test_accuracy": [0.9911, 0.9913]}
LIES = [
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
    ({"ensemble": {**PAIR, "seeds": [0, 2]}}, "ensemble_adds_up", "ensemble.seeds"),
    ({"ensemble": {**PAIR, "seeds": [1, 2]}}, "ensemble_adds_up", "ensemble.seeds"),
    (
        {"ensemble": {**PAIR, "test_accuracy": [0.9912]}},
        "ensemble_adds_up",
        "ensemble.test_accuracy",
    ),
    (
        {"ensemble": {**PAIR, "test_accuracy": [0.9912, 0.9999]}},
        "ensemble_adds_up",
        "ensemble.test_accuracy",
    ),
    ({"ensemble": PAIR}, "rates", "result.images_per_s"),
    ({"ensemble": PAIR}, "deviations_declared", "workload.standard"),
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
    ({"engine__tuning": {"a": ["<b>"]}}, "plain_text", "engine.tuning.a.0"),
    ({"software__os": "/home/ada/os"}, "no_private_text", "software.os"),
    ({"software__os": r"C:\Users\ada"}, "no_private_text", "software.os"),
    ({"software__os": "see ../../etc/passwd"}, "no_private_text", "software.os"),
    ({"hardware__driver": "ada@example.org"}, "no_private_text", "hardware.driver"),
    ({"engine__tuning": {"a": 1e300}}, "safe_numbers", "engine.tuning.a"),
    ({"engine__tuning": {"a": 10**400}}, "safe_numbers", "engine.tuning.a"),
    ({"workload__flops_per_sample": 2**60}, "safe_numbers", "workload.flops_per_sample"),
    ({"workload__n_test": 10**400}, "safe_numbers", "workload.n_test"),
    ({"workload__deviations": ["x"] * 1001}, "short_lists", "workload.deviations"),
]


@pytest.mark.parametrize(("changes", "rule", "field"), LIES)
def test_a_lie_is_refused_by_the_rule_against_it(changes, rule, field):
    broken = broken_rules(make_record(**changes))
    assert (rule, field) in broken if field else rule in {name for name, _ in broken}


def test_every_rule_is_described_and_has_a_lie_in_these_tests():
    check_record(make_record(), NOW)
    described = {name for name in facts("rules") if name not in ("file", "schema", "run_id_unique")}
    assert described == set(RULES)
    assert described == {rule for _, rule, _ in LIES}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timing__segments", True),
        ("workload__seed", "0"),
        ("workload__seed", 0.0),
        ("workload__standard", 1),
        ("schema_version", 2),
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


def test_the_second_record_with_a_run_id_is_refused(tmp_path):
    records = [make_record(seed=seed, run_id="the-same-id") for seed in range(3)]
    verdict = check_files([write_records(tmp_path, records)], NOW)
    assert len(verdict.accepted) == 1
    assert [fault.rule for fault in verdict.faults] == ["run_id_unique"] * 2


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
    monkeypatch.setattr(files, "WORTH_A_PROCESS", 2)
    monkeypatch.setattr(files, "CHUNK", 2)
    monkeypatch.setattr(files, "_cpus", lambda: 2)
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
