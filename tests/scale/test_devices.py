"""Several devices train what one trains: two processes on a CPU, joined by Gloo."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

import mnist_gpu
from mnist_gpu.config.compose import check, compose_config
from mnist_gpu.errors import UserError
from mnist_gpu.faults.small import write
from mnist_gpu.measure import rank as process
from mnist_gpu.protocol.streams import dropout_seed
from mnist_gpu.records.rules import check_record
from mnist_gpu.records.schema import Record
from mnist_gpu.records.store import read_record
from mnist_gpu.runs import ranks
from tests.scale import together

TWO = ["platform=cpu", "model=mlp", "devices=2", "logger=none"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
CHECKOUT = Path(__file__).parents[2]
IMAGES, EPOCHS = 1632, 12
PARITY = {"mlp": 100, "cnn": 10}  # steps


@pytest.fixture
def here(tmp_path, monkeypatch, mnist_dir):
    monkeypatch.setenv("MNIST_GPU_DATA", str(mnist_dir))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> list[str]:
    """Overrides for 1,632 drawn digits: 26 steps an epoch, the last of half a batch."""
    return [*TWO, *write(tmp_path_factory.mktemp("small"), IMAGES, 640)]


@pytest.fixture(scope="module")
def undisturbed(small, tmp_path_factory) -> Record:
    """All epochs on two devices."""
    folder = tmp_path_factory.mktemp("undisturbed")
    done = train(*small, f"epochs={EPOCHS}", cwd=folder)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(list(folder.glob("outputs/*/*"))) == 1
    return the_record(folder)


def train(
    *overrides: str, start: list[str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess:
    command = [*(start or [sys.executable]), "-m", "mnist_gpu.train", *overrides]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )


def begun(*overrides: str, line: str) -> subprocess.Popen:
    """A run that has printed a line that begins so."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mnist_gpu.train", *overrides],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for printed in process.stdout:
        if printed.startswith(line):
            return process
    raise AssertionError(process.communicate())


def the_record(folder: Path) -> Record:
    [path] = folder.glob("outputs/*/*/record.json")
    return read_record(path)


def test_each_device_drops_out_other_units_and_the_first_those_of_a_run_alone():
    streams = {dropout_seed(0, epoch, rank) for epoch in (1, 2) for rank in range(8)}
    assert len(streams) == 16
    assert dropout_seed(0, 1, 0) == dropout_seed(0, 1)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["devices=3"], "devices=3: 3 devices cannot share a batch of 64 and the last one of 32"),
        (["devices=3"], "choose 1, 2, 4, 8, 16, 32 in all"),
        (["devices=64"], "64 devices cannot share"),
        (["devices=2", "engine=torch"], "engine=torch trains on one device; choose engine=lig"),
        (["devices=2", "platform=m1"], "a Mac has one Metal GPU"),
        (["devices=2", "profiler=5"], "profile_steps=5: traces one device"),
        (["devices=7", "scaling=weak"], "7 devices cannot share a batch of 448"),
        (["scaling=stronger"], "scaling=stronger: choose from strong, weak"),
        (["num_nodes=0"], "num_nodes=0: a whole number from 1"),
    ],
)
def test_what_devices_cannot_do_is_refused_with_the_choices(overrides, said):
    with pytest.raises(UserError) as refused:
        check(compose_config(overrides))
    assert said in str(refused.value)


def test_several_machines_need_somebody_who_starts_processes_on_them():
    settings = check(compose_config(["num_nodes=2"]))
    with pytest.raises(UserError, match="num_nodes=2: start a process for each device with torch"):
        ranks.refuse_misfit(settings, process.Rank())


@pytest.mark.parametrize(
    ("environ", "rank"),
    [
        ({}, process.Rank()),
        ({"LOCAL_RANK": "1"}, process.Rank()),
        (
            {"TORCHELASTIC_RUN_ID": "x", "RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8"},
            process.Rank(5, 1, 8, "torchrun"),
        ),
        (
            {"SLURM_NTASKS": "4", "SLURM_STEP_ID": "0", "SLURM_PROCID": "3", "SLURM_LOCALID": "1"},
            process.Rank(3, 1, 4, "slurm"),
        ),
        ({"SLURM_NTASKS": "1", "SLURM_STEP_ID": "0", "SLURM_PROCID": "0"}, process.Rank()),
    ],
)
def test_a_process_knows_which_of_its_run_it_is(environ, rank):
    assert process.here(environ) == rank


@pytest.fixture(scope="module")
def of_two(mnist_dir) -> dict[str, list[float]]:
    """The losses of two processes that train one model after the other, by model."""
    asked = [str(word) for pair in PARITY.items() for word in pair]
    done = subprocess.run(
        [*TORCHRUN, "-m", "tests.scale.together", *asked],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), "MNIST_GPU_DATA": str(mnist_dir)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("model", "steps"), PARITY.items())
def test_in_float64_every_loss_of_two_processes_is_that_of_one(here, of_two, model, steps):
    two = np.array(of_two[model])
    one = np.array(together.losses(model, steps, 1))
    assert len(two) == steps // 10
    assert (np.abs(two - one) / one).max() < 1e-9


@pytest.mark.slow
def test_two_devices_leave_one_record_of_both_and_count_every_image_once(undisturbed):
    record = undisturbed
    assert record.hardware.accelerator_count == 2
    assert "devices 2 (standard: 1)" in record.workload.deviations
    assert record.workload.batch_size == 64
    assert record.workload.n_train == IMAGES
    trained = record.timing.train_s * record.result.images_per_s
    assert trained == pytest.approx(IMAGES * EPOCHS)
    assert record.result.test_accuracy > 0.5
    assert check_record(record, datetime.now(UTC)) == []


@pytest.mark.slow
def test_torchrun_starts_the_same_run(here, small, undisturbed):
    done = train(*small, f"epochs={EPOCHS}", start=TORCHRUN)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(list(here.glob("outputs/*/*"))) == 1
    assert the_record(here).result.weights_sha256 == undisturbed.result.weights_sha256
    assert not list(Path(tempfile.gettempdir()).glob(f"mnist-gpu-{os.getuid()}-*"))


@pytest.mark.slow
def test_weak_scaling_gives_each_device_a_whole_batch_and_says_so(here, small):
    done = train(*small, "epochs=1", "scaling=weak")
    assert done.returncode == 0, done.stderr[-2000:]
    workload = the_record(here).workload
    assert workload.batch_size == 128
    assert {"scaling weak (standard: strong)", "batch_size 128 (standard: 64)"} < {
        *workload.deviations
    }


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "terminated"])
def test_two_devices_stopped_and_resumed_end_with_the_weights_of_an_undisturbed_run(
    here, small, undisturbed, how
):
    process = begun(*small, f"epochs={EPOCHS}", line=f"epoch 2/{EPOCHS}")
    process.send_signal(how)
    process.communicate(timeout=60)
    assert process.returncode == (-how if how == signal.SIGKILL else 128 + how)
    [stopped] = here.glob("outputs/cpu/*")
    done = train(*small, f"epochs={EPOCHS}", f"resume={stopped}")
    assert done.returncode == 0, done.stderr[-2000:]
    resumed = read_record(stopped / "record.json")
    assert resumed.timing.segments == 2
    assert resumed.result.weights_sha256 == undisturbed.result.weights_sha256
    assert [row.train_loss for row in resumed.epochs] == [
        row.train_loss for row in undisturbed.epochs
    ]


@pytest.mark.slow
def test_a_run_that_loses_a_process_fails_with_a_record_that_says_so(here, small):
    process = begun(*small, "epochs=20000", "checkpoint=0", line="epoch 1/")
    os.kill(_follower(process.pid), signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "another process of this run was lost" in said
    assert the_record(here).status == "failed"


@pytest.mark.slow
def test_no_process_outlives_the_first(here, small):
    process = begun(*small, "epochs=20000", "checkpoint=0", line="epoch 1/")
    follower = _follower(process.pid)
    process.kill()
    process.communicate(timeout=30)
    until = time.monotonic() + 30
    while Path(f"/proc/{follower}").exists() and time.monotonic() < until:
        # nobody tells: it is no child of ours
        time.sleep(0.1)
    assert not Path(f"/proc/{follower}").exists()


def test_processes_that_do_not_fit_the_devices_are_refused(monkeypatch, here):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = train("platform=cpu", "model=mlp", "epochs=1")
    assert done.returncode == 1
    assert "torchrun started 2 processes, 1 are needed" in done.stderr


def test_from_python_one_device_trains(here):
    with pytest.raises(UserError, match="devices=2: from the command line only"):
        mnist_gpu.run(TWO)


def _follower(pid: int) -> int:
    import psutil

    children = psutil.Process(pid).children()
    [found] = [child for child in children if ranks.FOLLOWER in child.cmdline()]
    return found.pid
