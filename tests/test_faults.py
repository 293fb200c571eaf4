"""What goes wrong on real machines, provoked: what the user reads, and what is left on the disk."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mnist_gpu
from mnist_gpu import engines
from mnist_gpu.errors import UserError
from mnist_gpu.faults import campaign, small
from mnist_gpu.records.store import read_record
from mnist_gpu.runs import checkpoint, execute
from mnist_gpu.runs.curves import Curves
from mnist_gpu.runs.folder import held
from mnist_gpu.timing.timeline import Timeline
from tests import faulty


@pytest.fixture(scope="session")
def digits(tmp_path_factory) -> list[str]:
    return small.write(tmp_path_factory.mktemp("digits"), 640, 128)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # a test replaces it; put back afterwards
    monkeypatch.setattr(engines, "find", engines.find)
    return tmp_path


@pytest.fixture
def quick(here, digits) -> list[str]:
    return ["platform=cpu", "engine=torch", "model=mlp", "epochs=3", *digits]


@pytest.fixture
def mount(here):
    """Mounts a small file system; skips where that is not allowed."""
    mounted = []

    def make(name: str, options: str) -> Path:
        folder = here / name
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            pytest.skip("this machine does not let us mount a file system")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def record_of(folder: Path):
    found = list(folder.glob("outputs/cpu/*/record.json"))
    assert len(found) == 1, found
    return read_record(found[0])


def refusal(overrides) -> str:
    with pytest.raises(UserError) as fault:
        mnist_gpu.run(overrides)
    assert "\n" not in str(fault.value)
    return str(fault.value)


def raises(fault: BaseException, epoch: int = 2):
    def act(engine) -> None:
        if engine.epoch == epoch:
            raise fault

    return act


def lost_device():
    """Every call after the loss fails, as CUDA's do."""
    message = "CUDA error: unspecified launch failure"

    def lose(engine) -> None:
        if engine.epoch == 2:
            engine.lost = True
            raise RuntimeError(message)

    def fail(engine) -> None:
        if getattr(engine, "lost", False):
            raise RuntimeError(message)

    return {"train_epoch": lose, "synchronise": fail, "state": fail, "predict": fail}


def allocate(engine) -> None:
    if engine.epoch == 2:
        np.empty(1 << 50, np.float64)


class TensorflowsOwn(Exception):
    """Frameworks raise kinds of their own that are no RuntimeError."""


FAULTS = {
    "memory": ({"train_epoch": allocate}, "out of memory: Unable to allocate 8.00 PiB"),
    "gpu memory": (
        {"train_epoch": raises(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"))},
        "out of memory: CUDA out of memory. Tried to allocate 2 GiB",
    ),
    "tensorflow's memory": (
        {"train_epoch": raises(TensorflowsOwn("RESOURCE_EXHAUSTED: OOM when allocating"))},
        "out of memory: RESOURCE_EXHAUSTED",
    ),
    "lost device": (lost_device(), "CUDA error: unspecified launch failure"),
    "evaluation": ({"evaluate": raises(ValueError("no\nsuch\nbatch"))}, "no such batch"),
    "a fault of ours": (
        {"train_epoch": raises(TypeError("x"))},
        "TypeError: x (hydra.verbose=true shows where)",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told_in_one_line_kept_in_the_record_and_no_epoch_is_lost(here, quick, name):
    plan, message = FAULTS[name]
    faulty.installed(**plan)
    line = refusal(quick)
    assert line.startswith(f"failed: {message}")
    record = record_of(here)
    assert (record.status, len(record.epochs)) == ("failed", 1)
    assert record.status_reason.startswith(message)
    faulty.installed()
    resumed = mnist_gpu.run([*quick, "resume=auto"])
    assert (resumed.status, len(resumed.epochs), resumed.timing.segments) == ("completed", 3, 2)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_the_run_as_diverged(here, quick, loss):
    def diverge(engine) -> None:
        if engine.epoch == 2:
            engine.loss = loss

    faulty.installed(train_epoch=diverge)
    assert refusal(quick) == f"diverged: the training loss of epoch 2 is {loss}"
    record = record_of(here)
    assert (record.status, len(record.epochs)) == ("diverged", 1)
    assert "NaN" not in record.model_dump_json()


def test_an_engine_that_cannot_be_built_is_told_in_one_line(here, quick):
    faulty.installed(build=raises(RuntimeError("no kernel image is available"), epoch=0))
    assert refusal(quick) == "failed: no kernel image is available"


def test_a_full_disk_fails_the_run_and_says_so(here, quick, mount):
    disk = mount("disk", "size=1m")
    faulty.installed(build=lambda engine: setattr(engine, "array", np.zeros(300_000, np.float32)))
    assert "no space left on device" in refusal([*quick, f"hydra.run.dir={disk}/run"])
    record = read_record(disk / "run" / "record.json")
    assert (record.status, record.status_reason) == ("failed", "no space left on device")
    assert not list(disk.rglob("*.partial"))
    assert not list(disk.rglob("*.npz"))


def test_a_disk_too_full_even_for_the_record_is_told_in_one_line(here, quick, mount):
    disk = mount("disk", "size=1m")

    def fill(engine) -> None:
        if engine.epoch == 2:
            with pytest.raises(OSError, match="No space"), (disk / "filler").open("wb") as file:
                file.write(bytes(2**21))

    faulty.installed(train_epoch=fill)
    line = refusal([*quick, f"hydra.run.dir={disk}/run"])
    assert line.startswith("failed: no space left on device; ")
    assert "record.json: no space left on device: make room on its disk" in line
    assert not (disk / "run" / "record.json").exists()


def test_a_folder_that_cannot_be_written_to_is_told_in_one_line(here, quick, mount):
    disk = mount("disk", "ro,size=1m")
    command = [sys.executable, "-m", "mnist_gpu.train", *quick, f"hydra.run.dir={disk}/run"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        f"mnist-gpu: {disk}/run: read-only file system: choose a folder you may write to\n"
    )


@pytest.mark.parametrize("method", ["began", "epoch_ended", "final", "close", "__init__"])
def test_curves_that_cannot_be_written_never_stop_a_training(here, quick, monkeypatch, method):
    def fail(*_arguments, **_named) -> None:
        raise RuntimeError("the writer is broken")

    faulty.installed()
    monkeypatch.setattr(Curves, method, fail)
    assert mnist_gpu.run(quick).status == "completed"


@pytest.mark.parametrize("method", ["sample", "_counters", "_own_cpu_s"])
def test_a_sampler_that_fails_never_stops_a_training(here, quick, monkeypatch, method):
    from mnist_gpu.measure.resources import Sampler

    def fail(*_arguments) -> None:
        raise RuntimeError("no counters here")

    faulty.installed()
    monkeypatch.setattr(Sampler, method, fail)
    if method == "_counters":
        pytest.importorskip("psutil")
        monkeypatch.setattr(Sampler, method, lambda self: {})
    assert mnist_gpu.run(quick).status == "completed"


def start_child(quick, stubborn: bool) -> subprocess.Popen:
    script = f"from tests.faulty import child; child({stubborn})"
    return subprocess.Popen(
        [sys.executable, "-c", script, *quick],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )


def wait_for(process: subprocess.Popen, word: str) -> None:
    assert any(line.startswith(word) for line in process.stdout)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_the_run_with_a_record_and_the_conventional_code(here, quick, name):
    number = getattr(signal, name)
    process = start_child(quick, stubborn=False)
    wait_for(process, "begun")
    process.send_signal(number)
    output, _ = process.communicate()
    assert process.returncode == 128 + number, output
    assert f"mnist-gpu: interrupted: signal {number:d}" in output
    assert "Traceback" not in output
    assert record_of(here).status == "interrupted"


def test_a_second_ctrl_c_ends_the_run_at_once(here, quick):
    process = start_child(quick, stubborn=True)
    wait_for(process, "begun")
    process.send_signal(signal.SIGINT)
    wait_for(process, "noted")
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate()
    assert process.returncode == -signal.SIGINT, output
    assert not list(here.glob("outputs/cpu/*/record.json"))


def test_a_reader_who_leaves_does_not_cost_the_record(here, quick):
    process = start_child(quick, stubborn=False)
    wait_for(process, "begun")
    process.stdout.close()
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 128 + signal.SIGTERM
    assert record_of(here).status == "interrupted"


INSTANTS = [
    *[(Timeline, name) for name in ("began", "training", "progressed", "trained", "evaluated")],
    (checkpoint, "write_whole"),
    (checkpoint, "write_weights"),
    (execute, "write_record"),
]


@pytest.mark.parametrize("engine", ["lightning", "torch"])
def test_sigterm_at_any_instant_leaves_a_record_and_a_run_that_resumes(
    here, digits, monkeypatch, engine
):
    overrides = ["platform=cpu", f"engine={engine}", "model=mlp", "epochs=2", *digits]
    whole = mnist_gpu.run(overrides).result.weights_sha256
    for place, name in INSTANTS:
        for before in (True, False):
            with monkeypatch.context() as patch:
                patch.setattr(place, name, signalling(getattr(place, name), before))
                with pytest.raises(KeyboardInterrupt):
                    mnist_gpu.run([*overrides, "hydra.run.dir=runs/a"])
            record = read_record(Path("runs/a/record.json"))
            instant = f"{'before' if before else 'after'} {name}"
            assert record.status in ("interrupted", "completed"), instant
            if record.status == "interrupted":
                resume = "runs/a" if record.epochs else "null"
                record = mnist_gpu.run([*overrides, "hydra.run.dir=runs/b", f"resume={resume}"])
            assert record.result.weights_sha256 == whole, instant
            subprocess.run(["rm", "-r", "runs"], check=True)


@pytest.mark.parametrize("engine", ["lightning", "torch"])
def test_no_framework_takes_sigterm_over_from_the_run(here, digits, monkeypatch, engine):
    owners = set()
    training = Timeline.training

    def watching(timeline, epoch):
        owners.add(signal.getsignal(signal.SIGTERM).__module__)
        return training(timeline, epoch)

    monkeypatch.setattr(Timeline, "training", watching)
    mnist_gpu.run(["platform=cpu", f"engine={engine}", "model=mlp", "epochs=2", *digits])
    assert owners == {"mnist_gpu.runs.process"}


def signalling(work, before: bool):
    """`work`, with one SIGTERM just before or just after its first call."""
    sent = []

    def wrapped(*arguments):
        if before and not sent:
            sent.append(1)
            signal.raise_signal(signal.SIGTERM)
        result = work(*arguments)
        if not before and not sent:
            sent.append(1)
            signal.raise_signal(signal.SIGTERM)
        return result

    return wrapped


def test_of_a_run_that_saves_seldom_an_interrupted_epoch_is_saved_all_the_same(here, quick):
    def stop(engine) -> None:
        if engine.epoch == 2:
            signal.raise_signal(signal.SIGTERM)

    faulty.installed(evaluate=stop)
    with pytest.raises(KeyboardInterrupt):
        mnist_gpu.run([*quick, "checkpoint=100"])
    faulty.installed()
    resumed = mnist_gpu.run([*quick, "checkpoint=100", "resume=auto"])
    assert (resumed.timing.segments, len(record_of(here).epochs)) == (2, 3)


def test_a_run_that_is_being_worked_on_is_not_resumed_by_another(here, quick):
    faulty.installed(train_epoch=raises(RuntimeError("stopped")))
    refusal(quick)
    folder = next(here.glob("outputs/cpu/*"))
    faulty.installed()
    with held(folder):
        assert "another process is working on this run" in refusal([*quick, f"resume={folder}"])
        assert mnist_gpu.run([*quick, "resume=auto"]).timing.segments == 1
    complete = next(p for p in here.glob("outputs/cpu/*") if p != folder)
    assert "nothing is left to do" in refusal([*quick, f"resume={complete}"])


def test_a_resumed_run_counts_what_its_earlier_segments_used(here, quick, monkeypatch):
    from mnist_gpu.measure.energy import EnergyMeter

    faulty.installed(train_epoch=raises(RuntimeError("stopped")))
    # every segment uses 5 J, whatever this machine can read
    monkeypatch.setattr(EnergyMeter, "total_j", property(lambda meter: 5.0))
    refusal(quick)
    assert record_of(here).resources.energy_j == 5.0
    faulty.installed()
    assert mnist_gpu.run([*quick, "resume=auto"]).resources.energy_j == 10.0


def test_a_checkpoint_that_does_not_fit_the_network_is_refused(here, quick):
    faulty.installed(train_epoch=raises(RuntimeError("stopped")))
    refusal(quick)
    folder = next(here.glob("outputs/cpu/*"))
    path = next(folder.glob("checkpoints/epoch-*.npz"))
    found = checkpoint.read(path)
    found.state["weights/fc1.weight"] = np.zeros(1, np.float32)
    checkpoint.write(found, path)
    faulty.installed()
    line = refusal([*quick, f"resume={folder}"])
    assert "does not fit this network: weights/fc1.weight" in line


@pytest.mark.slow
def test_a_short_campaign_of_kills_finds_nothing_wrong(tmp_path):
    overrides = ["engine=torch", "model=mlp", "epochs=3"]
    done = campaign.carry_out(tmp_path, 4, seed=1, overrides=overrides)
    assert done.faults == []
    assert done.kills >= 4
    assert sum(done.stages.values()) == done.kills


def train(here, *overrides: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "mnist_gpu.train", *overrides]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=here)


@pytest.mark.slow
def test_a_sweep_that_is_run_again_does_only_what_is_missing(here, digits):
    sweep = ["-m", "platform=cpu", "engine=torch", "model=mlp", "epochs=1", *digits]
    assert train(here, *sweep, "seed=0,1,2,3").returncode == 0
    first = {json.loads(p.read_text())["workload"]["seed"]: p for p in records(here)}
    assert sorted(first) == [0, 1, 2, 3]
    first[1].unlink()
    half = first[2].read_text()
    first[2].write_text(half[: len(half) // 2])
    changed = json.loads(first[3].read_text())
    changed["timing"]["train_s"] *= 2
    first[3].write_text(json.dumps(changed))
    again = train(here, *sweep, "seed=0,1,2,3")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("already there") == 1
    assert re.search(r"^4 runs", again.stdout, re.MULTILINE)
    new = records(here) - set(first.values())
    assert sorted(json.loads(p.read_text())["workload"]["seed"] for p in new) == [1, 2, 3]
    third = train(here, *sweep, "seed=0,1", "learning_rate=0.001,0.01")
    assert third.stdout.count("already there") == 2
    forced = train(here, *sweep, "seed=0", "force=true")
    assert "already there" not in forced.stdout


def records(here) -> set[Path]:
    return set(here.glob("multirun/*/*/record.json"))
