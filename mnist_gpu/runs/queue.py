"""Sweeps and single runs through submitit: one job a run, one record a job, none of them packed.

Hydra's submitit launcher waits for the first job that fails and forgets the others, composes a
job's configuration where nothing judges it, and starts the jobs of one machine all at once. This
one does not. A job that is stopped before its end goes on from its checkpoint once it is requeued.
"""

import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra_plugins.hydra_submitit_launcher.submitit_launcher import BaseSubmititLauncher
from omegaconf import DictConfig, open_dict

from mnist_gpu.config.compose import check, register
from mnist_gpu.config.errors import format_error
from mnist_gpu.config.settings import Settings
from mnist_gpu.errors import UserError
from mnist_gpu.runs import ranks
from mnist_gpu.runs.app import HANDED_ON, App
from mnist_gpu.runs.outcome import SIGNALLED
from mnist_gpu.runs.process import environment
from mnist_gpu.runs.resume import restarts
from mnist_gpu.runs.slurm import check_script, gather, job_id
from mnist_gpu.runs.sweep import Sweep

log = logging.getLogger(__name__)

# what would let several runs use one GPU at once
SHARES_OF_GPUS = ("shard", "mps")


@dataclass
class Options:
    """What `hydra.launcher` may say for `launcher=slurm_local`."""

    _target_: str = ""
    timeout_min: int = 1440


@dataclass
class SlurmOptions(Options):
    """And for `launcher=slurm`; null leaves it to the cluster's default. See sbatch(1).

    `exclusive` is null for: whole nodes for runs on a CPU, whose speed a neighbour would change.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    gres: str | None = None
    gpus_per_node: int | None = None
    cpus_per_task: int | None = None
    mem_gb: int | None = None
    exclusive: bool | None = None
    array_parallelism: int = 256
    signal_delay_s: int = 120
    max_requeues: int = 20
    setup: list[str] | None = None
    additional_parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """One run of a sweep: its number, its overrides and what they come to."""

    number: int
    overrides: tuple[str, ...]
    settings: Settings

    @property
    def name(self) -> str:
        """For people: what was asked for."""
        return " ".join(self.overrides)


class QueueLauncher(BaseSubmititLauncher):
    """What both have in common."""

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Submit every job that can run, wait for all, and keep what failed by name."""
        assert self.config is not None
        folder = Path(str(self.config.hydra.sweep.dir)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        self._app.sweep = self._app.sweep or Sweep(folder)
        jobs = []
        for number, overrides in enumerate(job_overrides, start=initial_job_idx):
            try:
                jobs.append(Job(number, tuple(overrides), check(self._composed(overrides))))
            except Exception as exc:  # Hydra and OmegaConf raise many kinds
                self._app.failures.append((" ".join(overrides), format_error(exc)))
        self._run(jobs, folder)
        # what failed is named at the end; Hydra would raise the first failure
        done = JobReturn(status=JobStatus.COMPLETED)
        done.return_value = None
        return [done] * len(job_overrides)

    def __call__(self, number: int, overrides: Sequence[str], folder: str, state: Any) -> Any:
        """Run one job, in the process that submitit started for it."""
        Singleton.set_state(state)
        setup_globals()
        register()
        app = self._app
        # it came along as it was at home: what failed there is told there
        app.sweep, app.failures = Sweep(Path(folder)), []
        config = self._composed(overrides)
        with open_dict(config):
            config.hydra.sweep.dir = folder
            config.hydra.job.num = number
            config.hydra.job.id = os.environ.get("SLURM_JOB_ID", str(number))
        if ranks.follows():
            ranks.follow_settings(check(config))
            return None
        # the app has kept what Ctrl-C or a signal ended
        with suppress(KeyboardInterrupt), environment(HANDED_ON):
            returned = run_job(
                hydra_context=self.hydra_context,
                task_function=app,
                config=config,
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
            )
            if returned.status == JobStatus.FAILED:
                raise returned._return_value
        self._ended(app.failures[-1][1].exit_code if app.failures else 0)
        return app.failures, app.sweep.found

    @property
    def _app(self) -> App:
        assert isinstance(self.task_function, App)
        return self.task_function

    def _run(self, jobs: Sequence[Job], folder: Path) -> None:
        raise NotImplementedError

    def _ended(self, exit_code: int) -> None:
        """A job's process is about to hand in its result."""

    def _composed(self, overrides: Sequence[str]) -> DictConfig:
        assert self.hydra_context is not None
        loader = self.hydra_context.config_loader
        return loader.load_sweep_config(self.config, list(overrides))

    def _submit(self, jobs: Sequence[Job], folder: Path, options: dict[str, Any]) -> list[Any]:
        import submitit

        executor = submitit.AutoExecutor(folder / ".submitit" / "%j", cluster=self._EXECUTOR)
        executor.update_parameters(**options)
        state = Singleton.get_state()
        # one sbatch for all: an array
        with executor.batch():
            return [
                executor.submit(self, job.number, job.overrides, str(folder), state) for job in jobs
            ]

    def _home(self, job: Job, submitted: Any, lost: str | None = None) -> None:
        """Take over what a job's process handed in."""
        try:
            if lost is not None:
                raise UserError(lost)
            failures, found = submitted.task(0).result()
        except Exception as exc:  # submitit hands on whatever the job's process raised
            reason = str(exc).strip().splitlines()[-1:] or [type(exc).__name__]
            self._app.failures.append((job.name, UserError(reason[0])))
            return
        assert self._app.sweep is not None
        self._app.sweep.found += found
        self._app.failures += [(job.name, failure) for _, failure in failures]


class LocalLauncher(QueueLauncher):
    """One job after the other: timed runs never share a device."""

    _EXECUTOR = "local"

    def _run(self, jobs: Sequence[Job], folder: Path) -> None:
        for job in jobs:
            log.info("job %s: %s", job.number, job.name)
            options = {"timeout_min": self.params["timeout_min"]}
            [submitted] = self._submit([job], folder, options)
            self._home(job, submitted)


class SlurmLauncher(QueueLauncher):
    """An array of jobs for all runs that ask for the same resources."""

    _EXECUTOR = "slurm"

    def _run(self, jobs: Sequence[Job], folder: Path) -> None:
        if not shutil.which("sbatch") or not shutil.which("srun"):
            raise UserError(
                "launcher=slurm: no sbatch and srun here; run this on a login node of the cluster,"
                " or try it out with launcher=slurm_local"
            )
        gres = str(self.params["gres"] or "")
        if any(word in gres.split(":", maxsplit=1)[0] for word in SHARES_OF_GPUS):
            raise UserError(
                f"hydra.launcher.gres={gres}: several runs would share a GPU, and none of their"
                " times would mean anything; ask for whole ones (gpu:1)"
            )
        plain = {name: value for name, value in self.params.items() if isinstance(value, str)}
        check_script({**plain, **self.params["additional_parameters"]}, folder)
        waiting: list[tuple[Job, Any]] = []
        groups: dict[str, list[Job]] = {}
        for job in jobs:
            # jobs of an array all ask for the same
            groups.setdefault(repr(self._options(job.settings)), []).append(job)
        for members in groups.values():
            submitted = self._submit(members, folder, self._options(members[0].settings))
            waiting += zip(members, submitted, strict=True)
        for job, submitted in waiting:
            print(f"Slurm job {submitted.job_id}: {job.name}", flush=True)
        try:
            gather(waiting, self._home)
        except KeyboardInterrupt:
            print(f"the jobs go on in the queue; their records come to {folder}", file=sys.stderr)
            raise

    def _ended(self, exit_code: int) -> None:
        """Leave no result where the job is not over: Slurm will start it again, or nobody will."""
        if exit_code <= SIGNALLED or "SLURM_JOB_ID" not in os.environ:
            return
        time_was_up = exit_code == SIGNALLED + signal.SIGUSR2
        if time_was_up and restarts() < self.params["max_requeues"]:
            subprocess.run(["scontrol", "requeue", job_id(os.environ)], check=False)
        sys.exit(exit_code)

    def _options(self, settings: Settings) -> dict[str, Any]:
        """What a job asks for, in submitit's words: a task for each device where there are several
        machines, else one that starts the others itself."""
        given = self.params
        accelerator, exclusive = settings.platform.accelerator, given["exclusive"]
        if exclusive is None:
            exclusive = accelerator == "cpu"
        gpus = settings.devices if accelerator == "cuda" else None
        own = ("partition", "account", "qos", "constraint", "gres", "array_parallelism", "setup")
        options = {
            "name": "mnist-gpu",
            **{name: given[name] for name in ("timeout_min", "cpus_per_task", "mem_gb")},
            **{f"slurm_{name}": given[name] for name in own},
            "slurm_signal_delay_s": given["signal_delay_s"],
            "slurm_additional_parameters": {"requeue": True, **given["additional_parameters"]},
            "slurm_exclusive": exclusive or None,
            "nodes": settings.num_nodes,
            "tasks_per_node": settings.devices if settings.num_nodes > 1 else 1,
            "gpus_per_node": given["gpus_per_node"] or gpus,
        }
        return {name: value for name, value in options.items() if value is not None}
