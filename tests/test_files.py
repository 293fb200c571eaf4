"""No command deletes or overwrites a file that is not its own, whatever it is told to do."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import mnist_gpu
from mnist_gpu import engines, files, train
from mnist_gpu.errors import UserError
from mnist_gpu.faults import small
from mnist_gpu.records.store import read_record
from mnist_gpu.report.__main__ import main as report
from mnist_gpu.runs import checkpoint
from mnist_gpu.validate import main as validate
from tests import faulty
from tests.records import make_record

# every name under which a command of ours writes anything
NAMES = [
    "record.json",
    "train.log",
    "multirun.yaml",
    ".hydra/config.yaml",
    ".hydra/overrides.yaml",
    ".hydra/hydra.yaml",
    "config.yaml",
    "checkpoints/epoch-00001.npz",
    "checkpoints/epoch-00009.npz",
    "checkpoints/weights.npz",
    "checkpoints/.epoch-00001.npz.x.partial",
    ".record.json.x.partial",
    "tensorboard/events",
    "profile/trace.json",
    "index.html",
    "runs.csv",
    "runs.parquet",
    ".mnist-gpu.sha256",
    "manifest.json",
    "bootstrap.py",
    "README.md",
    "0-cpu-torch-seed0/record.json",
    "notes.txt",
    "deep/er/notes.txt",
]
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


def fill(folder: Path) -> Path:
    for name in NAMES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"{name} is mine\r\n".encode())
    return folder


def content(folder: Path) -> dict[str, bytes | None]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.fixture(scope="session")
def digits(tmp_path_factory) -> list[str]:
    return small.write(tmp_path_factory.mktemp("digits"), 640, 128)


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
    assert "1 runs" in said.out


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


@pytest.mark.parametrize("name", ["index.html", "runs.csv", "runs.parquet", ".mnist-gpu.sha256"])
def test_a_report_does_not_overwrite_a_page_or_table_of_somebody_else(tmp_path, capsys, name):
    records = write(tmp_path / "records")
    out, readme = tmp_path / "out", tmp_path / "README.md"
    readme.write_text("<!-- results:begin -->\n<!-- results:end -->\n")
    out.mkdir()
    (out / name).write_bytes(b"mine")
    before = content(tmp_path)
    assert report([records, "--out", str(out), "--readme", str(readme)]) == 1
    assert content(tmp_path) == before
    assert name in capsys.readouterr().err


def test_a_report_renews_its_own_files_until_somebody_changes_one(tmp_path):
    records, out = write(tmp_path / "records"), tmp_path / "out"
    (out / "deep").mkdir(parents=True)
    (out / "notes.txt").write_bytes(b"mine")
    assert report([records, "--out", str(out)]) == 0
    write(tmp_path / "records", seed=1)
    first = (out / "runs.csv").read_bytes()
    assert report([records, "--out", str(out)]) == 0
    assert (out / "runs.csv").read_bytes() != first
    with (out / "runs.csv").open("a") as file:
        file.write("my own line\n")
    before = content(out)
    assert report([records, "--out", str(out)]) == 1
    assert content(out) == before


def test_a_report_that_could_not_be_finished_is_still_its_own(tmp_path, monkeypatch):
    records, out = write(tmp_path / "records"), tmp_path / "out"
    assert report([records, "--out", str(out)]) == 0
    write(tmp_path / "records", seed=1)
    replace = os.replace

    def full(source, target) -> None:
        if Path(target).name == "index.html":
            raise OSError(28, "No space left on device")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        assert report([records, "--out", str(out)]) == 1
    assert not list(out.glob(".*.partial"))
    assert report([records, "--out", str(out)]) == 0


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_readme_keeps_everything_outside_its_markers(tmp_path, end):
    records = write(tmp_path / "records")
    around = b"# mine\r\n\n\xc3\xa9\t\r\n", b"\nand\r\nthis", b""
    begin, finish = b"<!-- results:begin -->" + end, b"<!-- results:end -->"
    for last in around:
        real, link = tmp_path / "real.md", tmp_path / "link.md"
        real.write_bytes(around[0] + begin + finish + last)
        real.chmod(0o640)
        link.unlink(missing_ok=True)
        link.symlink_to(real)
        arguments = [records, "--out", str(tmp_path / "out"), "--readme", str(link)]
        assert report(arguments) == 0
        text = real.read_bytes()
        assert text.startswith(around[0] + begin)
        assert text.endswith(finish + last)
        assert len(text) > 500
        assert link.is_symlink()
        assert real.stat().st_mode & 0o777 == 0o640
        assert report([records, "--check", "--readme", str(link)]) == 0


@pytest.mark.parametrize("readme", ["", "no markers", "<!-- results:end --><!-- results:begin -->"])
def test_a_readme_without_its_markers_is_left_and_no_page_is_written(tmp_path, readme):
    records, path = write(tmp_path / "records"), tmp_path / "README.md"
    path.write_text(readme)
    before = content(tmp_path)
    assert report([records, "--out", str(tmp_path / "out"), "--readme", str(path)]) == 1
    assert content(tmp_path) == before


def write(folder: Path, seed: int = 0) -> str:
    path = folder / f"{seed}" / "record.json"
    files.write_whole(path, make_record(seed=seed).model_dump_json().encode())
    return str(folder)


def test_a_file_that_must_be_new_is_never_written_over(tmp_path, monkeypatch):
    path = tmp_path / "record.json"
    for link in (os.link, None):
        if link is None:
            monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError()))
        files.write_whole(path, b"first", new=True)
        with pytest.raises(FileExistsError):
            files.write_whole(path, b"second", new=True)
        assert path.read_bytes() == b"first"
        assert os.listdir(tmp_path) == ["record.json"]
        path.unlink()


@pytest.mark.parametrize(
    ("text", "encoding", "said"),
    [
        ("\ufeff{}", "utf-8", "UTF-8 with a byte order mark"),
        ("{}", "utf-16", "UTF-16"),
        ("{}", "utf-32", "UTF-32"),
    ],
)
def test_a_record_in_another_encoding_is_told_which_one_it_is_in(
    tmp_path, capsys, text, encoding, said
):
    record = make_record().model_dump_json()
    (tmp_path / "mine.json").write_bytes(text.replace("{}", record).encode(encoding))
    assert validate([str(tmp_path)]) == 1
    assert f"mine.json: file: is {said}: save it as UTF-8" in capsys.readouterr().out


def test_a_link_to_a_record_counts_once_and_one_to_nowhere_is_refused(tmp_path, capsys):
    write(tmp_path / "elsewhere")
    results = tmp_path / "results"
    (results / "a").mkdir(parents=True)
    (results / "a" / "record.json").symlink_to(tmp_path / "elsewhere" / "0" / "record.json")
    (results / "again").symlink_to(tmp_path / "elsewhere")
    (results / "loop").symlink_to(results)
    assert validate([str(results)]) == 0
    assert capsys.readouterr().err == "1 accepted, 0 refused\n"
    (results / "record.json").symlink_to("nowhere")
    assert validate([str(results)]) == 1
    assert "record.json: file: cannot be read" in capsys.readouterr().out


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
    ("number", "advice"),
    [(28, "make room"), (13, "you may write to"), (24, "ulimit -n"), (12, "out of memory")],
)
def test_what_to_do_fits_what_the_system_refused(number, advice):
    assert advice in files.trouble(OSError(number, os.strerror(number), "x"))
    assert "write to" not in files.trouble(OSError(5, os.strerror(5), "x"))


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
