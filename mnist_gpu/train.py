"""One run, or a sweep of them: `python -m mnist_gpu.train platform=m1`."""

import atexit
import os
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from mnist_gpu.config.checks import check
from mnist_gpu.config.complaints import COMPLAINTS, one_line, unexpected
from mnist_gpu.config.compose import conf_dir, register
from mnist_gpu.errors import UserError
from mnist_gpu.measure.process import process_age_ns
from mnist_gpu.measure.stopwatch import Stopwatch
from mnist_gpu.runs import sweep
from mnist_gpu.runs.folder import discard_if_empty

# the shell's convention: a process ended by signal N exits with 128 + N
INTERRUPTED = 128

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
        settings = check(config)
        from mnist_gpu.runs.execute import execute

        _, outcome = execute(settings, folder, stopwatch)
        ended = UserError(f"{outcome.status}: {outcome.reason}", outcome.exit_code)
    except UserError as refused:
        if _full_error:
            raise
        discard_if_empty(folder)
        ended = refused
    if ended.exit_code:
        # kept instead of raised: a sweep goes on, and the end names what failed
        sweep.CURRENT.failures.append((" ".join(hydra_config.overrides.task), ended))
    if ended.exit_code > INTERRUPTED:
        raise KeyboardInterrupt


def main() -> None:
    """Run the command line; one line and an exit code for what the user can mend."""
    # Hydra then hands exceptions on instead of printing them its own way
    os.environ["HYDRA_FULL_ERROR"] = "1"
    failures = sweep.CURRENT.failures
    try:
        job()
    except KeyboardInterrupt:
        if not failures:
            failures.append(("", UserError("interrupted", INTERRUPTED + 2)))
    except COMPLAINTS as fault:
        if _full_error:
            raise
        failures.append(("", UserError(one_line(fault))))
    except Exception as fault:
        if _full_error:
            raise
        failures.append(("", UserError(unexpected(fault))))
    finally:
        if not _full_error:
            del os.environ["HYDRA_FULL_ERROR"]
    if sweep.CURRENT.folder is not None:
        sweep.close(sweep.CURRENT.folder)
    for overrides, failure in failures:
        job_name = f"{overrides}: " if sweep.CURRENT.folder is not None else ""
        print(f"mnist-gpu: {job_name}{failure}", file=sys.stderr)
    sys.exit(failures[-1][1].exit_code if failures else 0)


def _leave(code: int) -> None:
    """End the process now: taking the frameworks' modules apart would take seconds that no clock
    of ours sees, and give nothing back."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    try:
        main()
    except SystemExit as ended:
        _leave(ended.code if isinstance(ended.code, int) else 1)
