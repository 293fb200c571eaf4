"""`launcher=slurm` on a real Slurm, and what is said where there is none."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mnist_gpu.faults.small import write
from mnist_gpu.records.rules import check_files
from mnist_gpu.records.store import read_record
from tests.scale import slurm as slurms

pytest.importorskip("submitit", reason='pip install "mnist-gpu[slurm]"')
pytestmark = [pytest.mark.network, pytest.mark.slow]
SLURM = ("launcher=slurm", "platform=cpu", "model=mlp", "logger=none")
EPOCHS = 60  # some seconds: a job that has saved one has far to go


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    try:
        running = slurms.start(tmp_path_factory.mktemp("slurm"))
    except slurms.Unavailable as reason:
        pytest.skip(f"no Slurm: {reason}")
    yield running
    running.stop()


class Sweep:
    """A command line that is under way."""

    def __init__(self, slurm: slurms.Slurm, folder: Path, *overrides: str) -> None:
        self.slurm = slurm
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mnist_gpu.train", *overrides],
            cwd=folder,
            env=slurm.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait(self, ready, what: str, seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while not ready():
            assert self.process.poll() is None, self.end()
            assert time.monotonic() < end, f"{what} took too long\n{self.slurm.log()}"
            time.sleep(0.2)

    def end(self) -> tuple[int, str, str]:
        out, said = self.process.communicate(timeout=300)
        return self.process.returncode, out, said

    def records(self) -> list[Path]:
        return sorted(self.folder.glob("multirun/*/*/record.json"))


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> list[str]:
    """Overrides for 6,432 drawn digits."""
    return write(tmp_path_factory.mktemp("small"), 6432)


@pytest.fixture
def sweep(slurm, tmp_path, small):
    # torch starts soonest; several devices need Lightning
    def start(*overrides: str, engine: str = "torch") -> Sweep:
        return Sweep(slurm, tmp_path, *SLURM, *small, f"engine={engine}", *overrides)

    return start


def train_until_saved(sweep, *overrides: str) -> Sweep:
    """A job under way that has a checkpoint, and far to go."""
    running = sweep(f"epochs={EPOCHS}", *overrides)
    running.wait(lambda: [*running.folder.glob("multirun/*/*/checkpoints/epoch-0*")], "an epoch")
    return running


def test_a_sweep_over_three_seeds_ends_in_three_valid_records_and_one_table(sweep):
    running = sweep("epochs=2", "seed=0,1,2")
    code, out, said = running.end()
    assert code == 0, out + said
    verdict = check_files([str(path) for path in running.records()])
    assert verdict.faults == []
    assert [run.record.workload.seed for run in verdict.accepted] == [0, 1, 2]
    assert {run.record.platform.signals.get("SLURM_JOB_ID") for run in verdict.accepted} == {"set"}
    assert "3 runs" in out
    assert "standard deviation" in out


def test_a_job_that_fails_does_not_lose_the_others_and_is_named(sweep, small):
    [folder] = [entry for entry in small if entry.startswith("data.dir=")]
    running = sweep("epochs=1", f"data.dir=/nowhere,{folder.removeprefix('data.dir=')}")
    code, out, said = running.end()
    assert code == 1
    [record] = [read_record(path) for path in running.records()]
    assert record.status == "completed"
    assert said.count("mnist-gpu: ") == 1, said
    assert "data.dir=/nowhere" in said
    assert "Traceback" not in said
    assert "\n1 run " in out


def test_a_job_that_is_requeued_goes_on_from_its_checkpoint(slurm, sweep):
    running = train_until_saved(sweep, "seed=7")
    [(number, state)] = slurm.jobs()
    assert state == "RUNNING"
    slurm.call("scontrol", "requeue", number)
    running.wait(lambda: slurm.jobs() == [(number, "PENDING")], "the requeue")
    # Slurm lets two minutes pass before it starts such a job again
    slurm.call("scontrol", "update", f"jobid={number}", "starttime=now")
    code, out, said = running.end()
    assert code == 0, out + said
    [record] = [read_record(path) for path in running.records()]
    assert record.status == "completed"
    assert record.timing.segments == 2
    assert len(record.epochs) == EPOCHS


def test_a_job_that_is_cancelled_goes_on_when_the_sweep_is_run_again(slurm, sweep):
    running = train_until_saved(sweep, "seed=8")
    [(number, _)] = slurm.jobs()
    slurm.call("scancel", number)
    code, _, said = running.end()
    assert code == 1
    assert "run again to go on" in said
    [record] = [read_record(path) for path in running.records()]
    assert (record.status, record.status_reason) == ("interrupted", "signal 15")
    again = sweep(f"epochs={EPOCHS}", "seed=8", "resume=auto")
    code, out, said = again.end()
    assert code == 0, out + said
    [record] = [read_record(path) for path in again.records()]
    assert record.status == "completed"
    assert record.timing.segments == 2


def test_two_devices_in_a_job_are_two_processes_and_one_record(sweep):
    running = sweep("epochs=1", "devices=2", engine="lightning")
    code, out, said = running.end()
    assert code == 0, out + said
    [record] = [read_record(path) for path in running.records()]
    assert record.hardware.accelerator_count == 2


def test_srun_starts_the_processes_of_a_run_as_well(slurm, tmp_path, small):
    command = ["srun", "--ntasks=2", "--ntasks-per-node=2", sys.executable, "-m"]
    command += ["mnist_gpu.train", "platform=cpu", "model=mlp", "epochs=1", "devices=2"]
    done = subprocess.run(
        [*command, "logger=none", *small],
        cwd=tmp_path,
        env=slurm.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [path] = tmp_path.glob("outputs/*/*/record.json")
    assert read_record(path).hardware.accelerator_count == 2


def test_shared_gpus_are_refused_with_the_reason(sweep):
    code, _, said = sweep("hydra.launcher.gres=shard:1", "seed=0").end()
    assert code == 1
    assert "several runs would share a GPU" in said


@pytest.mark.parametrize(
    "option",
    [
        "hydra.launcher.partition='gpu\ntouch evil'",
        "hydra.launcher.account='a\r'",
        "+hydra.launcher.additional_parameters.nice='0\ntouch evil'",
    ],
)
def test_a_line_break_never_reaches_a_jobs_script(tmp_path, option):
    for name in ("sbatch", "srun"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\ntouch '{tmp_path}/submitted'\n")
        program.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-m", "mnist_gpu.train", *SLURM, option, "seed=0"],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "one printable line" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "submitted").exists()


def test_without_slurm_one_line_says_so(tmp_path):
    environment = {**os.environ, "PATH": "/nowhere"}
    environment.pop("SLURM_CONF", None)
    done = subprocess.run(
        [sys.executable, "-m", "mnist_gpu.train", *SLURM, "seed=0"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "srun" in done.stderr
    assert "launcher=slurm_local" in done.stderr
