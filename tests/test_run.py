"""The main job, through its public doors, on real MNIST."""

import gc
import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

import numpy as np
import pytest

import mnist_gpu
from mnist_gpu import data
from mnist_gpu.errors import UserError
from mnist_gpu.faults import small
from mnist_gpu.records.schema import Record
from mnist_gpu.train import run_app
from mnist_gpu.validate import main as validate

QUICK = ["platform=cpu", "model=mlp", "epochs=2"]
PHASES = ("startup", "data", "build", "warmup", "train", "eval", "checkpoint", "other")


@pytest.fixture
def here(tmp_path, monkeypatch, mnist_dir):
    monkeypatch.setenv("MNIST_GPU_DATA", str(mnist_dir))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def quick(here, digits) -> list[str]:
    """A run of a second or two, on drawn digits."""
    return [*QUICK, *digits]


@pytest.fixture
def plain(quick) -> list[str]:
    """The same without curves, which take a while to load."""
    return [*quick, "logger=none"]


def command(*overrides: str) -> list[str]:
    return [sys.executable, "-m", "mnist_gpu.train", *overrides]


def only(folder: Path, pattern: str) -> Path:
    found = list(folder.glob(pattern))
    assert len(found) == 1, found
    return found[0]


def losses(record: Record) -> list[tuple[float, float]]:
    return [(row.train_loss, row.test_loss) for row in record.epochs]


@pytest.mark.slow
def test_the_standard_network_learns_mnist_in_an_epoch(here):
    # with kernels of our own, which are fast: tests/test_torch_engine.py has stock train the same
    record = mnist_gpu.run(["platform=cpu", "epochs=1", "division=open"])
    assert record.status == "completed"
    assert record.result.test_accuracy >= 0.978
    assert record.workload.n_parameters == 1_199_882
    assert record.workload.deviations == ["epochs 1 (standard: 50)"]
    weights = np.load(only(here, "outputs/cpu/*/checkpoints/weights.npz"))
    assert accuracy_in_plain_pytorch(weights) == pytest.approx(
        record.result.test_accuracy, abs=2e-4
    )


def accuracy_in_plain_pytorch(weights) -> float:
    """None of this project: the files, the network and the weights."""
    import torch
    from torch import nn

    folder = Path(os.environ["MNIST_GPU_DATA"])
    images = gzip.open(folder / "t10k-images-idx3-ubyte.gz").read()[16:]
    labels = gzip.open(folder / "t10k-labels-idx1-ubyte.gz").read()[8:]
    x = torch.frombuffer(bytearray(images), dtype=torch.uint8).view(-1, 1, 28, 28) / 255
    y = torch.frombuffer(bytearray(labels), dtype=torch.uint8)
    conv = [nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)]
    net = nn.Sequential(*conv, nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Linear(128, 10))
    names = {0: "conv1", 2: "conv2", 6: "fc1", 8: "fc2"}
    loaded = {f"{n}.{k}": weights[f"{names[n]}.{k}"] for n in names for k in ("weight", "bias")}
    net.load_state_dict({name: torch.from_numpy(array) for name, array in loaded.items()})
    with torch.no_grad():
        predicted = torch.cat([net((part - 0.1307) / 0.3081).argmax(1) for part in x.split(1000)])
    return (predicted == y).double().mean().item()


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(plain):
    first, second = mnist_gpu.run(plain), mnist_gpu.run(plain)
    other = mnist_gpu.run([*plain, "seed=1"])
    assert first.result.weights_sha256 == second.result.weights_sha256
    assert losses(first) == losses(second)
    assert other.result.weights_sha256 != first.result.weights_sha256
    assert first.run_id != second.run_id


def test_the_phases_add_up_and_the_epochs_make_up_the_training_time(plain):
    record = mnist_gpu.run(plain)
    timing = record.timing
    parts = sum(getattr(timing, f"{phase}_s") for phase in PHASES)
    assert parts == pytest.approx(timing.total_s, abs=1e-6)
    assert sum(row.train_s for row in record.epochs) == pytest.approx(timing.train_s, abs=1e-6)
    assert sum(row.eval_s for row in record.epochs) == pytest.approx(timing.eval_s, abs=1e-6)
    assert timing.first_epoch_s == record.epochs[0].train_s
    assert timing.steady_epoch_s == record.epochs[1].train_s


def test_lightning_trains_exactly_what_the_plain_loop_trains(plain):
    loop = mnist_gpu.run([*plain, "engine=torch"])
    trainer = mnist_gpu.run([*plain, "engine=lightning"])
    assert loop.result.weights_sha256 == trainer.result.weights_sha256
    # the Trainer sums an epoch's loss in another order
    for one, other in zip(losses(loop), losses(trainer), strict=True):
        assert other == pytest.approx(one, rel=1e-6)


def test_a_run_leaves_its_record_curves_weights_and_configuration(here, quick):
    done = subprocess.run(command(*quick), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    folder = only(here, "outputs/cpu/*")
    record = Record.model_validate_json((folder / "record.json").read_text())
    assert record.platform.name == "cpu"
    assert "epoch 2/2" in done.stdout
    assert str(folder / "record.json") in done.stdout
    assert (folder / ".hydra" / "overrides.yaml").exists()
    assert (folder / "train.log").exists()
    assert only(folder, "tensorboard/events*").stat().st_size > 0
    text = (folder / "record.json").read_text()
    assert str(here) not in text
    assert not re.search(rf"\b{re.escape(os.uname().nodename)}\b", text)


def test_tensorboard_finds_curves_pictures_and_hyper_parameters(here, quick):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    record = mnist_gpu.run(quick)
    events = EventAccumulator(str(only(here, "outputs/cpu/*/tensorboard")))
    events.Reload()
    shown = [point.value for point in events.Scalars("accuracy/test")]
    assert shown == pytest.approx([row.test_accuracy for row in record.epochs])
    assert {"loss/train", "time/total_s", "speed/images_per_s"} <= set(events.Tags()["scalars"])
    assert "test/confusion_matrix" in events.Tags()["images"]
    assert "_hparams_/session_start_info" in events.Tags()["tensors"]


def test_what_a_resolver_reads_for_a_folders_name_comes_into_no_record_and_no_log(here, quick):
    secret = "hunter2"
    named = f"hydra.run.dir={here}/out-${{oc.env:MY_SECRET}}"
    environment = {**os.environ, "MY_SECRET": secret}
    done = subprocess.run(command(*quick, named), env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    folder = here / f"out-{secret}"
    holds_it = [
        path.name
        for path in folder.rglob("*")
        if path.is_file() and secret.encode() in path.read_bytes()
    ]
    # Hydra's own account of where it ran
    assert holds_it == ["hydra.yaml"]
    assert {"record.json", "train.log"} <= {path.name for path in folder.iterdir()}


def test_a_sweep_gives_every_seed_its_own_record_and_closes_with_a_table(here, plain):
    done = subprocess.run(
        command("-m", "seed=0,1,2", *plain), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    records = [json.loads(path.read_text()) for path in here.glob("multirun/*/*/record.json")]
    assert sorted(record["workload"]["seed"] for record in records) == [0, 1, 2]
    assert len({record["result"]["weights_sha256"] for record in records}) == 3
    assert "standard deviation" in done.stdout


@pytest.mark.parametrize("engine", ["lightning", "torch", "keras", "tensorflow"])
def test_a_runs_memory_holds_no_data_set_of_the_run_before(quick, monkeypatch, engine):
    pytest.importorskip(engine)
    load, images, alive = data.load, [], []

    def watched(*arguments, **named):
        alive.append(sum(image() is not None for image in images))
        dataset = load(*arguments, **named)
        images.append(weakref.ref(dataset.train_images))
        return dataset

    monkeypatch.setattr(data, "load", watched)
    gc.collect()
    gc.disable()  # whoever lets go of it does so by intent
    try:
        assert run_app(["-m", "seed=0,1", *quick, f"engine={engine}"]) == 0
        mnist_gpu.run([*quick, f"engine={engine}"])
    finally:
        gc.enable()
    assert alive == [0, 0, 0]


def test_a_failing_job_does_not_lose_the_others_of_its_sweep(here, plain):
    jobs = command("-m", *plain, "platform=cpu,m1", "epochs=1")
    done = subprocess.run(jobs, capture_output=True, text=True, check=False)
    if sys.platform != "darwin":
        assert done.returncode == 1
        assert "platform=m1" in done.stderr
        assert "use platform=cpu instead" in done.stderr
    assert len(list(here.glob("multirun/*/*/record.json"))) >= 1


@pytest.mark.parametrize("engine", ["lightning", "torch"])
def test_a_resumed_run_ends_as_if_it_had_never_stopped(here, engine):
    # so many that it is still under way when the signal comes
    digits = small.write(here / "digits", 6400)
    asked = [*QUICK[:2], *digits, "epochs=8", f"engine={engine}", "logger=none"]
    whole = mnist_gpu.run(asked)
    first = subprocess.Popen(
        command(*asked, "checkpoint=1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=here,
    )
    for line in first.stdout:
        if line.startswith("epoch 1/8"):
            first.send_signal(signal.SIGTERM)
            break
    output, _ = first.communicate()
    assert first.returncode == 128 + signal.SIGTERM, output
    interrupted = [
        path
        for path in here.glob("outputs/cpu/*/record.json")
        if json.loads(path.read_text())["status"] == "interrupted"
    ]
    assert len(interrupted) == 1
    resumed = mnist_gpu.run([*asked, "resume=auto"])
    assert resumed.result.weights_sha256 == whole.result.weights_sha256
    assert losses(resumed) == losses(whole)
    assert resumed.timing.segments == 2
    parts = sum(getattr(resumed.timing, f"{phase}_s") for phase in PHASES)
    assert parts == pytest.approx(resumed.timing.total_s, abs=1e-6)


def test_an_accelerator_that_is_not_there_is_answered_with_one_that_is(here):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has an NVIDIA GPU")
    with pytest.raises(UserError, match="use platform=") as refused:
        mnist_gpu.run(["platform=cuda"])
    assert "\n" not in str(refused.value)


def test_the_total_covers_the_process_from_its_creation(here, plain):
    began = time.monotonic()
    done = subprocess.run(command(*plain), capture_output=True, text=True, check=False)
    wall_s = time.monotonic() - began
    record = json.loads(only(here, "outputs/cpu/*/record.json").read_text())
    assert done.returncode == 0
    # no longer than the process lived, and more than its own parts without the start
    assert record["timing"]["startup_s"] > 0
    assert record["timing"]["total_s"] <= wall_s + 0.05


def test_a_trace_is_left_on_demand_and_changes_nothing(here, plain):
    asked = [*plain, "engine=torch"]
    untraced, traced = mnist_gpu.run(asked), mnist_gpu.run([*asked, "profile_steps=3"])
    [trace] = here.glob("outputs/cpu/*/profile/trace.json")
    names = {event.get("name") for event in json.loads(trace.read_text())["traceEvents"]}
    assert "Optimizer.step#Adam.step" in names
    assert traced.result.weights_sha256 == untraced.result.weights_sha256
    assert traced.workload.deviations == untraced.workload.deviations


def test_how_many_images_a_shortened_epoch_had_is_not_made_up(here, quick):
    asked = [*quick, "engine=lightning", "+trainer.limit_train_batches=2"]
    record = mnist_gpu.run(asked)
    assert record.workload.steps_made == 2 * record.workload.epochs
    assert record.result.images_per_s is None
    assert validate([str(here)]) == 0


@pytest.mark.parametrize("given", [["--help"], ["-m", "seed=1,2"], "epochs=1"])
def test_flags_and_a_bare_text_are_no_overrides(here, given):
    with pytest.raises(UserError, match="overrides are a list such as"):
        mnist_gpu.run(given)
