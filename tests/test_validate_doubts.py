"""What is no lie and yet keeps a record out of comparisons is a doubt, with its reason."""

import subprocess
from datetime import UTC, datetime

import pytest

import mnist_gpu
from mnist_gpu.measure.hardware import package_sha256
from mnist_gpu.paths import packaged
from mnist_gpu.records.facts import facts
from mnist_gpu.records.rules import check_files, doubtful
from tests.records import NOW, make_record, write_records

CUDA = {"accelerator": "cuda", "accelerator_name": "NVIDIA A100-SXM4-40GB"}
KAGGLE = {"platform__signals": {"KAGGLE_URL_BASE": "set"}, "platform__detected": "kaggle"}


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
            {"hardware__hypervisor": "Amazon EC2", "hardware__virtualised": True},
            "ran on a virtual machine of Amazon EC2",
        ),
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


def test_checkpoints_that_take_a_good_part_of_the_training_are_a_doubt():
    said = list(doubtful.doubts(make_record(timing__checkpoint_s=100.0)))
    assert [line for line in said if line.startswith("checkpoints took 100 s beside")]


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
