"""One configuration, or a sweep of them, from the command line (Hydra's) or from Python.

Hydra composes and writes nothing: the run owns its files.
"""

import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import _run_hydra, get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from mnist_gpu import output
from mnist_gpu.config import compose
from mnist_gpu.config.errors import format_error
from mnist_gpu.config.settings import Settings
from mnist_gpu.errors import UserError
from mnist_gpu.measure import influences
from mnist_gpu.measure.rank import process_age_ns
from mnist_gpu.paths import conf_dir
from mnist_gpu.records.schema import Record
from mnist_gpu.runs import folder
from mnist_gpu.runs.outcome import SIGNALLED, Outcome
from mnist_gpu.runs.process import environment
from mnist_gpu.runs.sweep import Sweep
from mnist_gpu.timing.stopwatch import Stopwatch

# with it, Hydra hands exceptions on instead of printing them its own way
HANDED_ON = {"HYDRA_FULL_ERROR": "1"}
HYDRAS_LOG = "${hydra.runtime.output_dir}/${hydra.job.name}.log"
# what to do with a run once its engine is built -> what was made of it, and how it ended
Job = Callable[[Any], tuple[Any, Outcome]]
# frameworks keep their device, backend and random state for the whole process
_running = threading.Lock()


class App:
    """Hydra's task function: trains once a call, and keeps in `failures` what failed.

    Args:
        full_error: hand every exception on, with its traceback.
        job: as for `execute`: what to do instead of a whole training.
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
        refuse_lost_folder()
        compose.register()
        # `hydra.main` would take the terminal's arguments and exit by itself
        parser = get_args_parser()
        options = parser.parse_args(compose.arguments(given))
        with self._judging(), environment(HANDED_ON):
            _run_hydra(options, parser, self, str(conf_dir()), "train")

    def __call__(self, config: DictConfig) -> None:
        """Train once, as Hydra composed it."""
        forget_the_last_run()
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
        try:
            ended = self._train(config, path, stopwatch)
        finally:
            folder.remove_empty(made)
        if ended.exit_code:
            # kept instead of raised: a sweep goes on, and the end names what failed
            self.failures.append((" ".join(hydra.overrides.task), ended))
        if ended.exit_code > SIGNALLED:
            raise KeyboardInterrupt

    def _train(self, config: DictConfig, path: Path, stopwatch: Stopwatch) -> UserError:
        try:
            hydra = HydraConfig.get()
            compose.refuse_shared_devices(hydra.launcher._target_)
            settings = compose.check(config)
            texts = _texts(config, hydra.overrides.task)
            texts["hydra.yaml"] = OmegaConf.to_yaml(OmegaConf.create({"hydra": hydra}))
            _, outcome = _start(settings, path, stopwatch, texts, self.sweep, self.job)
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


def forget_the_last_run() -> None:
    """Let go of an engine that this process has trained with before, off the clock.

    Frameworks' objects refer to each other in circles, which Python seldom looks for in a process
    as large as this: the last data set would count in the next run's memory.
    """
    # no engine has been here before it is imported
    if "mnist_gpu.runs.execute" in sys.modules:
        gc.collect()


def run_once(overrides: Sequence[str]) -> Record:
    """See `mnist_gpu.run`."""
    if isinstance(overrides, str) or any(str(override)[:1] == "-" for override in overrides):
        raise UserError(
            f'{overrides!r}: overrides are a list such as ["epochs=3"]; flags such as -m and --help'
            " are for the command line"
        )
    if not _running.acquire(blocking=False):
        raise UserError("a run is going on in this process already: one at a time")
    made: list[Path] = []
    try:
        forget_the_last_run()
        stopwatch = Stopwatch()
        config = compose.compose_config(overrides)
        settings = compose.check(config)
        if settings.launcher != "local":
            raise UserError(f"launcher={settings.launcher}: from the command line only")
        if settings.world > 1:
            raise UserError(f"devices={settings.world}: from the command line only")
        path = Path(str(config.hydra.run.dir)).absolute()
        made = folder.not_there(path)
        texts = _texts(compose.without_hydra(config), config.hydra.overrides.task)
        record, outcome = _start(settings, path, stopwatch, texts)
    except OSError as exc:
        raise format_error(exc) from None
    finally:
        # a run that never started, or went on in its first folder
        folder.remove_empty(made)
        _running.release()
    if outcome.exit_code > SIGNALLED:
        raise KeyboardInterrupt
    if outcome.exit_code:
        raise UserError(outcome.line)
    return record


def _start(
    settings: Settings,
    path: Path,
    stopwatch: Stopwatch,
    texts: dict[str, str],
    sweep: Sweep | None = None,
    job: Job | None = None,
) -> tuple[Any, Outcome]:
    for line in influences.refuse_or_neutralise(os.environ, settings.engine.uses):
        output.say(line)
    # frameworks come with it: what is refused is refused without them
    from mnist_gpu.runs.execute import execute

    return execute(settings, path, stopwatch, texts, sweep, job)


def _texts(config: DictConfig, overrides: Any) -> dict[str, str]:
    """What a run keeps in `.hydra/`: its configuration, and the overrides that gave it."""
    return {
        "config.yaml": OmegaConf.to_yaml(config),
        "overrides.yaml": OmegaConf.to_yaml(overrides),
    }


def refuse_lost_folder() -> None:
    """Refuse to start in a folder that is deleted: nothing can be written below it.

    Raises:
        UserError: it is.
    """
    try:
        os.getcwd()
    except OSError:
        raise UserError("the folder this is started in is gone: cd to another first") from None


def refuse_writing(config: DictConfig) -> None:
    """Leave to Hydra no file to write; what the user meant by it is refused, naming the key."""
    asked = {"hydra.output_subdir": config.hydra.output_subdir}
    for part in ("hydra_logging", "job_logging"):
        handlers = OmegaConf.select(config, f"hydra.{part}.handlers") or OmegaConf.create({})
        plain: Any = OmegaConf.to_container(handlers, resolve=False)
        for name, handler in plain.items():
            written = (handler or {}).get("filename")
            if written == HYDRAS_LOG:
                with open_dict(handlers):
                    handlers[name] = {"class": "logging.NullHandler"}
            else:
                asked[f"hydra.{part}.handlers.{name}.filename"] = written
    for key, value in asked.items():
        if value is not None:
            raise UserError(
                f"{key}={value}: a run keeps its configuration (.hydra) and its log (train.log) in"
                " its own folder; leave it out"
            )
