"""`python -m mnist_gpu.validate`: true records are accepted, lies are named."""

import json
import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import pytest

from mnist_gpu.protocol.standard import protocol
from mnist_gpu.records.facts import facts
from mnist_gpu.records.rules import check_files, check_record
from mnist_gpu.records.rules.registry import RULES
from mnist_gpu.records.schema import Record
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
        {"engine__switches": {"fused_adam": True}, "engine__division": "tuned"},
        {"engine__kernels": ["sparse_linear"], "engine__division": "open"},
        {"platform": "kaggle", "engine": "tensorflow"},
        {"status": "interrupted", "status_reason": "Ctrl-C", "result__weights_sha256": None},
    ],
)
def test_a_true_record_is_accepted(changes):
    assert broken_rules(make_record(**changes)) == set()


TOGETHER = ("file", "schema", "run_id_unique", "epoch_times_own", "outcome_own")
RAPL = "RAPL package counters (the whole processor)"
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
    ({"workload__deviations": ["x"] * 1001}, "short_lists", "workload.deviations"),
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


def copied(document, factor=None, backwards=False):
    """The same run under another id and seed: exact, with jitter, or from its end."""
    noise, rows = random.Random(1), document["epochs"]
    times = [row["train_s"] for row in rows]
    times = [times[0], *(reversed(times[1:]) if backwards else times[1:])]
    other = make_document(seed=3)
    for row, train_s in zip(other["epochs"], times, strict=True):
        row["train_s"] = round(train_s * (1 + (factor or 0) * noise.uniform(-1, 1)), 9)
        if factor is None:
            row["eval_s"] = rows[row["epoch"] - 1]["eval_s"]
    times = [row["train_s"] for row in other["epochs"]]
    timing = other["timing"]
    timing["total_s"] += sum(times) - timing["train_s"]
    timing["train_s"], timing["first_epoch_s"] = sum(times), times[0]
    timing["steady_epoch_s"] = median(times[1:])
    other["result"]["images_per_s"] = 50 * 60000 / sum(times)
    rate = other["result"]["images_per_s"] * other["workload"]["flops_per_sample"]
    other["result"]["flops_per_s"] = rate
    return Record.model_validate(other)


@pytest.mark.parametrize(
    "changes", [{}, {"backwards": True}, {"factor": 2e-4}, {"factor": 2e-4, "backwards": True}]
)
def test_epoch_times_of_another_run_are_refused_in_both(tmp_path, changes):
    records = [make_record(), make_record(seed=1), copied(make_document(), **changes)]
    verdict = check_files([write_records(tmp_path, records)], NOW)
    assert {fault.rule for fault in verdict.faults} == {"epoch_times_own"}
    assert [run.record.workload.seed for run in verdict.accepted] == [1]


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
        ({"accelerator": "cuda", "accelerator_name": "Wonder GPU"}, "Wonder GPU is in no list"),
        ({"platform": "cloud9", "kind": "cloud"}, "none that this project can verify"),
    ],
)
def test_what_nobody_can_look_up_is_a_doubt_and_no_fault(tmp_path, changes, said):
    record = make_record(**changes)
    verdict = check_files([write_records(tmp_path, [record])], NOW)
    assert verdict.faults == []
    (line,) = verdict.doubts[record.run_id]
    assert said in line


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
