"""What `launcher=` and Hydra's launchers may do: timed runs never share a device."""

import subprocess
import sys

import pytest

from mnist_gpu.config.compose import refuse_shared_devices
from mnist_gpu.errors import UserError
from mnist_gpu.records.store import read_record


@pytest.mark.slow
def test_slurm_local_runs_the_jobs_one_after_the_other_in_processes_of_their_own(tmp_path, digits):
    pytest.importorskip("submitit", reason='pip install "mnist-gpu[slurm]"')
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mnist_gpu.train", "launcher=slurm_local", "platform=cpu"),
            *("engine=torch", "model=mlp", "epochs=1", "seed=0,1", "logger=none"),
            *digits,
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    records = [read_record(path) for path in tmp_path.glob("multirun/*/*/record.json")]
    assert sorted(record.workload.seed for record in records) == [0, 1]
    # each paid for its own process
    assert min(record.timing.startup_s for record in records) > 0.5
    first, second = sorted(records, key=lambda record: record.created_at)
    assert second.created_at >= first.created_at
    assert "2 runs" in done.stdout


@pytest.mark.parametrize("launcher", ["JoblibLauncher", "RayLauncher"])
def test_a_launcher_that_would_pack_runs_on_one_device_is_refused_with_the_reason(launcher):
    with pytest.raises(UserError) as refused:
        refuse_shared_devices(f"hydra_plugins.somebody.{launcher}")
    assert "timed runs never share a device" in str(refused.value)
    assert "launcher=local, slurm or slurm_local" in str(refused.value)


def test_an_unknown_launcher_is_refused_with_the_choices(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mnist_gpu.train", "launcher=cluster"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "launcher=cluster: choose from local, slurm, slurm_local" in done.stderr
