"""One run, or a sweep of them: `python -m mnist_gpu.train platform=m1`."""

import logging
import os
import sys
from contextlib import suppress
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from mnist_gpu.config.compose import arguments, check, refuse_shared_devices, register
from mnist_gpu.config.errors import format_error
from mnist_gpu.errors import UserError
from mnist_gpu.measure import influences
from mnist_gpu.measure.process import process_age_ns
from mnist_gpu.paths import conf_dir
from mnist_gpu.runs import ranks, sweep
from mnist_gpu.runs.folder import discard_if_empty
from mnist_gpu.runs.leaving import leave
from mnist_gpu.timing.stopwatch import Stopwatch

INTERRUPTED = 128  # a process ended by signal N exits with 128 + N
register()
_jobs_begun = 0
_full_error = os.environ.get("HYDRA_FULL_ERROR") == "1"


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="train")
def job(config: DictConfig) -> None:
    """Train once, as Hydra composed it."""
    global _jobs_begun  # noqa: PLW0603
    stopwatch = Stopwatch()
    if _jobs_begun == 0:
        # the first job pays for the process and its imports; later jobs of a sweep do not
        stopwatch.carry({"startup": process_age_ns()})
    _jobs_begun += 1
    hydra_config = HydraConfig.get()
    folder = Path(hydra_config.runtime.output_dir)
    try:
        refuse_shared_devices(hydra_config.launcher._target_)
        settings = check(config)
        for line in influences.refuse_or_neutralise(os.environ, settings.engine.uses):
            print(line, flush=True)
        from mnist_gpu.runs.execute import execute

        _, outcome = execute(settings, folder, stopwatch)
        ended = UserError(outcome.line, outcome.exit_code)
    except Exception as fault:
        if _full_error:
            raise
        ended = format_error(fault)
    discard_if_empty(folder)
    if ended.exit_code:
        # kept instead of raised: a sweep goes on, and the end names what failed
        sweep.CURRENT.failures.append((" ".join(hydra_config.overrides.task), ended))
    if ended.exit_code > INTERRUPTED:
        raise KeyboardInterrupt


def main() -> None:
    """Run the command line; one line and an exit code for what the user can mend."""
    # Hydra then hands exceptions on instead of printing them its own way
    os.environ["HYDRA_FULL_ERROR"] = "1"
    # a full disk would otherwise show a traceback for every line of train.log
    logging.raiseExceptions = _full_error
    failures = sweep.CURRENT.failures
    try:
        sys.argv[1:] = arguments(sys.argv[1:])
        if ranks.follows():
            from mnist_gpu.runs.follower import follow_arguments

            follow_arguments(sys.argv[1:])
        else:
            job()
    except KeyboardInterrupt:
        if not failures:
            failures.append(("", UserError("interrupted", INTERRUPTED + 2)))
    except Exception as fault:
        if _full_error:
            raise
        failures.append(("", format_error(fault)))
    finally:
        if not _full_error:
            del os.environ["HYDRA_FULL_ERROR"]
    with suppress(OSError, SystemExit):  # nobody may be left to read it
        sweep.end()
    sys.exit(failures[-1][1].exit_code if failures else 0)


if __name__ == "__main__":
    try:
        main()
    except SystemExit as ended:
        leave(ended.code if isinstance(ended.code, int) else 1)
