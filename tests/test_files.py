"""No command deletes or overwrites a file that is not its own, whatever it is told to do."""

import os
import re
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

import mnist_gpu
from mnist_gpu import engines, train
from mnist_gpu.errors import UserError
from mnist_gpu.records.store import read_record
from mnist_gpu.runs import checkpoint
from mnist_gpu.validate import main as validate
from tests import faulty
from tests.foreign import NAMES, content, fill

TRAIN = {
    "run": ["hydra.run.dir={foreign}"],
    "the present folder": ["hydra.run.dir=."],
    "a folder of it": ["hydra.run.dir=deep"],
    "a file for a folder": ["hydra.run.dir={foreign}/notes.txt"],
    "below a file": ["hydra.run.dir={foreign}/notes.txt/run"],
    "subdir": ["hydra.output_subdir={foreign}"],
    "relative subdir": ["hydra.output_subdir=."],
    "log": ["+hydra.job_logging.handlers.file.filename={foreign}/train.log"],
    "sweep": ["-m", "hydra.sweep.dir={foreign}"],
    "sweep in the present folder": ["seed=0,1", "-m", "hydra.sweep.dir=."],
    "sweep's subdir": ["-m", "hydra.sweep.subdir={foreign}"],
    "sweep's output": ["-m", "hydra.output_subdir={foreign}"],
    "resume": ["resume={foreign}"],
    "resume auto": ["resume=auto", "hydra.run.dir={foreign}"],
    "queue": ["launcher=slurm_local", "hydra.sweep.dir={foreign}"],
}
WAYS = {
    "as it is": [],
    "a value that is refused": ["epochs=0"],
    "an unknown key": ["sed=1"],
    "an unknown choice": ["model=none"],
    "no data": ["data.dir=/nowhere"],
}


@pytest.fixture
def foreign(tmp_path, monkeypatch) -> Path:
    folder = fill(tmp_path / "foreign")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    monkeypatch.setattr(engines, "find", engines.find)
    faulty.installed()
    return folder


@pytest.fixture
def quick(digits, tmp_path, monkeypatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engines, "find", engines.find)
    faulty.installed()
    return ["platform=cpu", "engine=torch", "model=mlp", "epochs=2", *digits]


def command(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["train", *arguments])
    with pytest.raises(SystemExit) as ended:
        train.main()
    return ended.value.code


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("option", TRAIN)
def test_a_run_or_sweep_leaves_a_folder_of_somebody_else_as_it_was(
    foreign, tmp_path, digits, monkeypatch, capsys, option, way
):
    before = content(foreign)
    base = ["platform=cpu", "engine=torch", "model=mlp", "epochs=1", "logger=none", *digits]
    given = [entry.format(foreign=foreign) for entry in TRAIN[option]]
    # elsewhere, unless the option is about it
    elsewhere = [f"hydra.run.dir={tmp_path}/run", f"hydra.sweep.dir={tmp_path}/sweep"]
    keys = {entry.split("=")[0] for entry in given}
    elsewhere = [entry for entry in elsewhere if entry.split("=")[0] not in keys]
    assert command(monkeypatch, *given, *base, *elsewhere, *WAYS[way]) == 1
    assert content(foreign) == before
    said = capsys.readouterr().err
    assert said.count("mnist-gpu: ") in (1, 2), said  # a sweep of two jobs names both
    assert "Traceback" not in said
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_there_and_empty_may_be_used_and_stays_when_the_run_is_refused(
    quick, tmp_path, monkeypatch
):
    (tmp_path / "mine").mkdir()
    assert command(monkeypatch, *quick, "hydra.run.dir=mine", "seed=-1") == 1
    assert content(tmp_path) == {"mine": None}
    assert command(monkeypatch, *quick, "hydra.run.dir=mine") == 0
    assert read_record(tmp_path / "mine" / "record.json").status == "completed"


def test_a_finished_record_is_never_overwritten_by_the_next_run(quick, tmp_path, monkeypatch):
    assert command(monkeypatch, *quick, "hydra.run.dir=fixed") == 0
    before = content(tmp_path)
    for more in ([], ["seed=1"], ["resume=auto"], ["resume=auto", "seed=1"], ["resume=fixed"]):
        assert command(monkeypatch, *quick, "hydra.run.dir=fixed", *more) == 1
        with pytest.raises(UserError, match=r"folder of its own|nothing is left to do"):
            mnist_gpu.run([*quick, "hydra.run.dir=fixed", *more])
        assert content(tmp_path) == before


def test_jobs_of_a_sweep_that_share_a_folder_are_named_and_the_first_keeps_it(
    quick, tmp_path, monkeypatch, capsys
):
    code = command(monkeypatch, "seed=0,1,2", "-m", *quick, "hydra.sweep.subdir=same")
    said = capsys.readouterr()
    assert code == 1
    [record] = [read_record(path) for path in tmp_path.glob("multirun/*/*/record.json")]
    assert record.workload.seed == 0
    assert [line.split(" ")[1] for line in said.err.splitlines()] == ["seed=1", "seed=2"]
    assert "\n1 run " in said.out


def interrupted(quick, tmp_path, **plan) -> Path:
    def stop(engine) -> None:
        if engine.epoch == 2:
            raise RuntimeError("stopped")

    faulty.installed(train_epoch=stop)
    with pytest.raises(UserError, match="stopped"):
        mnist_gpu.run([*quick, "hydra.run.dir=run", "logger=tensorboard"])
    faulty.installed(**plan)
    return tmp_path / "run"


def test_a_resumed_run_keeps_what_others_put_into_its_folder(quick, tmp_path):
    folder = interrupted(quick, tmp_path)
    ours = content(folder)
    mine = [name for name in NAMES if not (folder / name).exists() and "weights" not in name]
    mine = [name for name in mine if not name.endswith((".partial", ".mnist-gpu.sha256"))]
    mine.append("checkpoints/epoch-00002.npz")
    for name in mine:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"mine")
    record = mnist_gpu.run([*quick, "resume=run"])
    assert (record.status, record.timing.segments) == ("completed", 2)
    after = content(folder)
    assert {name for name in mine if after[name] != b"mine"} == set()
    changed = {name for name, was in ours.items() if after.get(name) != was}
    assert "record.json" in changed <= {"record.json", "checkpoints/weights.npz"}
    for name in ("", "-2"):
        assert (folder / f"train{name}.log").exists()


@pytest.mark.parametrize("name", ["record.json", "checkpoints/weights.npz"])
def test_a_run_is_not_resumed_over_a_record_or_weights_of_another(quick, tmp_path, name):
    folder = interrupted(quick, tmp_path)
    (folder / name).write_bytes(b"mine")
    before = content(folder)
    with pytest.raises(UserError, match=f"{re.escape(name)}: not of the run"):
        mnist_gpu.run([*quick, "resume=run"])
    assert mnist_gpu.run([*quick, "resume=auto", "hydra.run.dir=other"]).timing.segments == 1
    assert content(folder) == before


def test_what_a_killed_process_left_half_written_is_cleared_when_its_run_is_resumed(
    quick, tmp_path
):
    folder = interrupted(quick, tmp_path)
    for name in (".record.json.abc.partial", "checkpoints/.epoch-00002.npz.abc.partial"):
        (folder / name).write_bytes(b"half")
    mnist_gpu.run([*quick, "resume=run"])
    assert not list(folder.rglob("*.partial"))
    assert len(checkpoint.find(folder / "checkpoints")) == 2


def test_a_job_that_slurm_starts_again_before_it_saved_anything_starts_beside_its_first_start(
    quick, tmp_path, monkeypatch
):
    fill(tmp_path / "run")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    before = content(tmp_path / "run")
    assert mnist_gpu.run([*quick, "hydra.run.dir=run"]).status == "completed"
    assert content(tmp_path / "run") == before
    assert (tmp_path / "run-restart1" / "record.json").exists()


def test_hydras_own_log_files_are_left_out_and_the_run_keeps_its_log(quick, tmp_path, monkeypatch):
    given = ["hydra/job_logging=default", "hydra.run.dir=run", "hydra.job.name=other"]
    assert command(monkeypatch, *quick, *given) == 0
    assert sorted(path.name for path in tmp_path.rglob("*.log")) == ["train.log"]


def test_with_a_working_folder_of_its_own_a_run_still_reads_relative_folders(
    quick, tmp_path, monkeypatch
):
    [given] = [entry for entry in quick if entry.startswith("data.dir=")]
    os.symlink(given.removeprefix("data.dir="), tmp_path / "digits")
    rest = [entry for entry in quick if entry != given]
    for more in (["data.dir=digits"], ["data.dir=digits", "-m", "seed=0,1"]):
        assert command(monkeypatch, *rest, *more, "hydra.job.chdir=true", "logger=none") == 0
    monkeypatch.setenv("MNIST_GPU_DATA", "digits")
    assert command(monkeypatch, *rest, "hydra.job.chdir=true", "hydra.run.dir=env") == 0
    assert len(list(tmp_path.rglob("record.json"))) == 4
    assert Path.cwd() == tmp_path


def test_of_two_threads_one_trains_and_the_other_is_told(quick):
    refused = []

    def other() -> None:
        try:
            mnist_gpu.run(quick)
        except UserError as exc:
            refused.append(str(exc))

    def start_another(engine) -> None:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()

    faulty.installed(train_epoch=start_another)
    assert mnist_gpu.run(quick).status == "completed"
    assert refused == ["a run is going on in this process already: one at a time"] * 2


def test_a_failures_own_text_never_makes_its_record_unacceptable(quick, tmp_path):
    import torch  # noqa: F401 - a record of engine=torch names the package

    text = "a\x1b[31m\x00 <script> `x` $(y) &#1; \udc80 /home/jane/secret C:\\x me@here.org " * 9

    def fail(engine) -> None:
        raise RuntimeError(text)

    faulty.installed(train_epoch=fail)
    with pytest.raises(UserError):
        mnist_gpu.run([*quick, "hydra.run.dir=run"])
    assert validate([str(tmp_path / "run")]) == 0
    reason = read_record(tmp_path / "run" / "record.json").status_reason
    assert "script" in reason
    assert "jane" not in reason


def test_a_run_that_made_other_steps_than_its_epochs_have_ends_failed(quick, tmp_path):
    engine = faulty.installed()
    engine.steps_made = lambda self: 7
    with pytest.raises(UserError, match="7 optimizer steps were made where 2 epochs have"):
        mnist_gpu.run([*quick, "hydra.run.dir=run"])
    assert read_record(tmp_path / "run" / "record.json").status == "failed"


@pytest.mark.parametrize(
    ("precision", "status"), [("16-mixed", "completed"), ("float32", "failed")]
)
def test_float16_alone_may_leave_out_the_steps_that_overflow(quick, tmp_path, precision, status):
    def build(engine) -> None:
        engine.workload = replace(engine.workload, precision=precision)

    engine = faulty.installed(build=build)
    engine.steps_made = lambda self: int(self.state()["adam_step"]) - 5
    with suppress(UserError):
        mnist_gpu.run([*quick, "hydra.run.dir=run"])
    assert read_record(tmp_path / "run" / "record.json").status == status


def test_ctrl_c_before_training_is_one_line_and_leaves_nothing(quick, tmp_path):
    script = (
        "import signal, runpy\n"
        "from mnist_gpu import data\n"
        "data.load = lambda *a, **k: signal.raise_signal(signal.SIGINT)\n"
        "runpy.run_module('mnist_gpu.train', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *quick], capture_output=True, text=True, check=False
    )
    assert done.returncode == 130
    assert done.stderr == "mnist-gpu: interrupted\n"
    assert content(tmp_path) == {}
