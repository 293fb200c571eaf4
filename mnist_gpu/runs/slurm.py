"""What Slurm knows of the jobs of a sweep."""

import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mnist_gpu.errors import UserError

LOOK_EVERY_S = 2.0
# a result may take a while to show on a shared file system
LATE_S = 10.0


def gather(waiting: Sequence[tuple[Any, Any]], home: Callable[..., None]) -> None:
    """Wait until every job, given with what submitit calls it, has handed in its result or is gone
    from the queue without one; `home` is called with each as it comes, and with what was lost.

    Slurm's accounting is not asked: many clusters have none, and a job that is started again counts
    as one that has failed there.
    """
    left = list(waiting)
    while left:
        for job, submitted in list(left):
            result = submitted.task(0).paths.result_pickle
            if not result.exists():
                if is_in_queue(submitted.job_id):
                    continue
                time.sleep(LATE_S)
            left.remove((job, submitted))
            lost = f"Slurm job {submitted.job_id} ended without a result; run again to go on"
            home(job, submitted, None if result.exists() else lost)
        if left:
            time.sleep(LOOK_EVERY_S)


def is_in_queue(number: str) -> bool:
    """Whether Slurm still has the job: waiting, running, or about to start again."""
    command = ["squeue", "--noheader", "--format=%T", f"--jobs={number}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        # any other complaint may pass: the controller is restarting, the network is down
        return "Invalid job id" not in done.stderr
    return bool(done.stdout.strip())


def job_id(environ: Mapping[str, str]) -> str:
    """The number by which Slurm knows this job, in an array or alone."""
    if environ.get("SLURM_ARRAY_JOB_ID"):
        return f"{environ['SLURM_ARRAY_JOB_ID']}_{environ['SLURM_ARRAY_TASK_ID']}"
    return environ["SLURM_JOB_ID"]


def check_script(options: Mapping[str, Any], folder: Path) -> None:
    """Judge what will stand in a job's script: options of sbatch(1) by name, and the folder of its
    logs. Submitit quotes values, not names, and a line break in a value would end its comment and
    begin a command.

    Raises:
        UserError: a name is none, a value is not one printable line, or Slurm would read the folder
            as a pattern.
    """
    for name, value in options.items():
        if not re.fullmatch(r"[A-Za-z][\w-]*", str(name)):
            raise UserError(f"hydra.launcher: {name!r} is no option of sbatch", exit_code=2)
        if not str(value).isprintable():
            raise UserError(f"hydra.launcher.{name}={value!r}: one printable line", exit_code=2)
    if "%" in str(folder):
        raise UserError(f"{folder}: Slurm reads % in a path as a pattern: start in another folder")
