"""Signals at whatever instant: the run ends with a record, and goes on where it was."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import mnist_gpu
from mnist_gpu.records.store import read_record
from mnist_gpu.runs import checkpoint, execute
from mnist_gpu.timing.timeline import Timeline
from tests import faulty
from tests.faulty import record_of


def start_child(quick, stubborn: bool) -> subprocess.Popen:
    script = f"from tests.faulty import child; child({stubborn})"
    return subprocess.Popen(
        [sys.executable, "-c", script, *quick],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
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
