"""The command line through Hydra, which composes and writes nothing: the run owns its files."""

import functools
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import _run_hydra, get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from mnist_gpu.config.compose import arguments, check, refuse_shared_devices, register
from mnist_gpu.config.errors import format_error
from mnist_gpu.config.settings import Settings
from mnist_gpu.errors import UserError
from mnist_gpu.measure import influences
from mnist_gpu.measure.rank import process_age_ns
from mnist_gpu.paths import conf_dir
from mnist_gpu.runs import folder
from mnist_gpu.runs.outcome import Outcome
from mnist_gpu.runs.sweep import Sweep
from mnist_gpu.timing.stopwatch import Stopwatch

INTERRUPTED = 128  # a process ended by signal N exits with 128 + N
HYDRAS_LOG = "${hydra.runtime.output_dir}/${hydra.job.name}.log"
log = logging.getLogger(__name__)
# settings, folder, stopwatch, texts for .hydra/, sweep -> what was made of it, and how it ended
Job = Callable[[Settings, Path, Stopwatch, dict[str, str], Sweep | None], tuple[Any, Outcome]]


class App:
    """Hydra's task function: trains once a call, and keeps what failed.

    Attributes:
        full_error: hand every exception on, with its traceback.
        job: what to do with a checked configuration; None: a run (`runs.execute`).
        sweep: the sweep whose jobs these are; None for a single run.
        failures: overrides and what became of them, of every job that failed.
    """

    def __init__(self, full_error: bool = False, job: Job | None = None) -> None:
        self.full_error = full_error
        self.job = job
        self.sweep: Sweep | None = None
        self.failures: list[tuple[str, UserError]] = []
        self._called = False
        self._not_there: list[Path] = []

    def run(self, given: Sequence[str]) -> None:
        """Do what a command line asks; Hydra's own flags may stand anywhere in it.

        Raises:
            Exception: Hydra's and OmegaConf's own, for what cannot be composed.
            SystemExit: for `--help` and wrong usage.
        """
        register()
        parser = get_args_parser()
        options = parser.parse_args(arguments(given))
        with self._judging(), exceptions_handed_on():
            _run_hydra(options, parser, self, str(conf_dir()), "train")

    def __call__(self, config: DictConfig) -> None:
        """Train once, as Hydra composed it."""
        stopwatch = Stopwatch()
        if not self._called:
            # the first job pays for the process and its imports; later jobs of a sweep do not
            stopwatch.carry({"startup": process_age_ns()})
        self._called = True
        hydra = HydraConfig.get()
        path = Path(hydra.runtime.output_dir)
        made = self._not_there
        if hydra.mode == RunMode.MULTIRUN:
            directory = Path(hydra.runtime.cwd, str(hydra.sweep.dir)).absolute()
            self.sweep = self.sweep or Sweep(directory)
            made = [path] if directory in path.parents else []
        texts = {"hydra.yaml": OmegaConf.to_yaml(OmegaConf.create({"hydra": hydra}))}
        try:
            ended = self._train(config, path, texts, stopwatch)
        finally:
            folder.remove_empty(made)
        if ended.exit_code:
            # kept instead of raised: a sweep goes on, and the end names what failed
            self.failures.append((" ".join(hydra.overrides.task), ended))
        if ended.exit_code > INTERRUPTED:
            raise KeyboardInterrupt

    def _train(
        self, config: DictConfig, path: Path, texts: dict[str, str], stopwatch: Stopwatch
    ) -> UserError:
        try:
            hydra = HydraConfig.get()
            refuse_shared_devices(hydra.launcher._target_)
            settings = check(config)
            for line in influences.refuse_or_neutralise(os.environ, settings.engine.uses):
                print(line, flush=True)
            from mnist_gpu.runs.execute import execute

            texts |= configuration_texts(config, hydra.overrides.task)
            _, outcome = (self.job or execute)(settings, path, stopwatch, texts, self.sweep)
        except Exception as exc:
            if self.full_error:
                raise
            return format_error(exc)
        return UserError(outcome.line, outcome.exit_code)

    @contextmanager
    def _judging(self) -> Iterator[None]:
        """Within the block, Hydra composes nothing with which it would write a file.

        There is no door between its composing and its writing, so its loader is wrapped.
        """
        load = ConfigLoaderImpl.load_configuration

        @functools.wraps(load)
        def load_and_judge(*arguments: Any, **named: Any) -> DictConfig:
            config = load(*arguments, **named)
            if named["config_name"] is None:  # --hydra-help
                return config
            refuse_writing(config)
            if not named.get("validate_sweep_overrides", True):
                # Hydra asks only whether this is a sweep, and hears no refusal
                return config
            if named["run_mode"] == RunMode.MULTIRUN:
                folder.refuse_used(Path(str(config.hydra.sweep.dir)), "sweep")
            elif config.hydra.mode == RunMode.RUN:
                self._not_there = folder.not_there(Path(str(config.hydra.run.dir)).absolute())
            return config

        ConfigLoaderImpl.load_configuration = load_and_judge  # type: ignore[method-assign]
        try:
            yield
        finally:
            ConfigLoaderImpl.load_configuration = load  # type: ignore[method-assign]


@contextmanager
def exceptions_handed_on() -> Iterator[None]:
    """Within the block, Hydra hands exceptions on instead of printing them its own way."""
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        os.environ.pop("HYDRA_FULL_ERROR")
        if before is not None:
            os.environ["HYDRA_FULL_ERROR"] = before


def configuration_texts(config: DictConfig, overrides: Any) -> dict[str, str]:
    """What a run keeps in `.hydra/`: its configuration, and the overrides that gave it."""
    return {
        "config.yaml": OmegaConf.to_yaml(config),
        "overrides.yaml": OmegaConf.to_yaml(overrides),
    }


def refuse_writing(config: DictConfig) -> None:
    """Leave to Hydra no file to write; what the user meant by it is refused.

    Raises:
        UserError: it names the key.
    """
    if config.hydra.output_subdir is not None:
        raise UserError(
            f"hydra.output_subdir={config.hydra.output_subdir}: a run keeps its configuration in"
            " .hydra in its own folder; leave it out"
        )
    for part in ("hydra_logging", "job_logging"):
        handlers = OmegaConf.select(config, f"hydra.{part}.handlers") or OmegaConf.create({})
        plain = OmegaConf.to_container(handlers, resolve=False)
        assert isinstance(plain, dict)
        for name, handler in ((str(key), value) for key, value in plain.items()):
            written = (handler or {}).get("filename")
            if written == HYDRAS_LOG:
                with open_dict(handlers):
                    handlers[name] = {"class": "logging.NullHandler"}
            elif written is not None:
                raise UserError(
                    f"hydra.{part}.handlers.{name}.filename={written}: a run's log is train.log in"
                    " its own folder; leave it out"
                )
