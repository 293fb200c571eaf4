"""What goes wrong on real machines, provoked: what the user reads, and what is left on the disk."""

import subprocess
import sys

import numpy as np
import pytest

import mnist_gpu
from mnist_gpu.records.store import read_record
from mnist_gpu.runs.curves import Curves
from tests import faulty
from tests.faulty import raises, record_of, refusal


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
