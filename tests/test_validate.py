"""`python -m mnist_gpu.validate`: true records are accepted, lies are named."""

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mnist_gpu import paths
from mnist_gpu.errors import UserError
from mnist_gpu.protocol.standard import protocol
from mnist_gpu.records.facts import facts
from mnist_gpu.records.rules import check_files, check_record, claims
from mnist_gpu.records.rules.registry import RULES
from mnist_gpu.records.store import write_record
from mnist_gpu.validate import main
from tests.lies import LIES
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
        # a scaler leaves out the steps whose gradients overflow
        {"precision": "16-mixed", "workload__steps_made": 46880, **CUDA},
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
        # a loaded machine looks less often
        {"resources__samples": 300, "resources__warnings": ["other processes used 190 % of a CPU"]},
        # an argument of the Trainer left batches out: how many images there were nobody knows
        {
            "workload__standard": False,
            "workload__deviations": ["trainer.limit_train_batches 5 (standard: 1.0)"],
            "workload__steps_made": 250,
            "result__images_per_s": None,
            "result__flops_per_s": None,
        },
        {"status": "interrupted", "status_reason": "Ctrl-C", "result__weights_sha256": None},
    ],
)
def test_a_true_record_is_accepted(changes):
    assert broken_rules(make_record(**changes)) == set()


TOGETHER = ("file", "schema", "run_id_unique", "epoch_times_own", "outcome_own")


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


def test_a_folder_without_a_record_is_one_line_and_1(tmp_path, capsys):
    assert main([str(tmp_path)]) == 1
    assert f"no record in {tmp_path}" in capsys.readouterr().err


def test_a_broken_platform_is_named_and_what_an_editor_leaves_is_not_one(monkeypatch, tmp_path):
    conf = tmp_path / "conf"
    shutil.copytree(paths.conf_dir() / "platform", conf / "platform")
    monkeypatch.setattr(paths, "conf_dir", lambda: conf)
    monkeypatch.setattr(paths, "shipped", paths.shipped.__wrapped__)
    monkeypatch.setattr(claims, "shipped", paths.shipped)
    (conf / "platform" / ".#lab.yaml").symlink_to("nowhere")
    assert ".#lab" not in claims.known_platforms.__wrapped__()
    for text, said in {
        "a: [": "cannot be read as YAML",
        "": "no keys",
        "name: lab": "kind",
    }.items():
        (conf / "platform" / "lab.yaml").write_text(text)
        with pytest.raises(UserError, match=rf"lab\.yaml: .*{said}"):
            claims.known_platforms.__wrapped__()


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
