"""One run, or a sweep of them: `python -m mnist_gpu.train platform=m1`."""

import os
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from mnist_gpu.config.checks import check
from mnist_gpu.config.complaints import COMPLAINTS, one_line
from mnist_gpu.config.compose import conf_dir, register
from mnist_gpu.errors import UserError
from mnist_gpu.measure.process import process_age_ns
from mnist_gpu.measure.stopwatch import Stopwatch
from mnist_gpu.runs import sweep
from mnist_gpu.runs.folder import discard_if_empty

register()
_jobs_begun = 0


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="train")
def job(config: DictConfig) -> None:
    """Train once, as Hydra composed it."""
    global _jobs_begun
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
        if outcome.status == "interrupted":
            # not an Exception: it ends a sweep, too
            raise SystemExit(_complain(f"interrupted: {outcome.reason}", outcome.exit_code))
        if outcome.exit_code:
            raise UserError(f"{outcome.status}: {outcome.reason}", outcome.exit_code)
    except UserError as fault:
        discard_if_empty(folder)
        if hydra_config.mode == RunMode.MULTIRUN:
            sweep.CURRENT.failures.append((hydra_config.job.override_dirname, str(fault)))
        raise


def main() -> None:
    """Run the command line; one line and exit code 1 for what the user can mend."""
    full_error = os.environ.get("HYDRA_FULL_ERROR") == "1"
    # Hydra then hands exceptions on instead of printing them its own way
    os.environ["HYDRA_FULL_ERROR"] = "1"
    code = 0
    try:
        job()
    except UserError as fault:
        if full_error:
            raise
        code = _complain(str(fault), fault.exit_code)
    except COMPLAINTS as fault:
        if full_error:
            raise
        code = _complain(one_line(fault), 1)
    except KeyboardInterrupt:
        code = _complain("interrupted", 130)
    finally:
        if not full_error:
            del os.environ["HYDRA_FULL_ERROR"]
    if sweep.CURRENT.folder is not None:
        sweep.close(sweep.CURRENT.folder, sweep.CURRENT.failures)
    sys.exit(code)


def _complain(line: str, code: int) -> int:
    print(f"mnist-gpu: {line}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
