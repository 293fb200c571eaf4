"""One run, or a sweep of them: `python -m mnist_gpu.train platform=m1`."""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from mnist_gpu import output
from mnist_gpu.errors import UserError

if TYPE_CHECKING:
    from mnist_gpu.runs.app import App, Job


def main() -> NoReturn:
    """Run the command line; one line and an exit code for what the user can mend."""
    with output.surviving():
        code = run_app(sys.argv[1:])
    sys.exit(code)


def end() -> NoReturn:
    """As `main`, and the process ends with it: for who runs this as a program."""
    try:
        main()
    except SystemExit as ended:
        from mnist_gpu.runs.process import leave

        leave(ended.code if isinstance(ended.code, int) else 1)


def run_app(arguments: Sequence[str], job: "Job | None" = None) -> int:
    """Do what a command line asks, once or in a sweep, or `job` with each configuration instead of
    a run; return the exit code."""
    failures: list[tuple[str, UserError]] = []
    app: App | None = None
    try:
        from mnist_gpu.runs import app as hydra_app
        from mnist_gpu.runs import ranks

        app = hydra_app.App(full_error=os.environ.get("HYDRA_FULL_ERROR") == "1", job=job)
        failures = app.failures
        if ranks.follows():
            # another process of this run leads: it reads the configuration and writes the record
            ranks.follow_arguments(arguments)
        else:
            app.run(arguments)
    except KeyboardInterrupt:
        if not failures:
            failures.append(("", UserError("interrupted", output.CTRL_C)))
    except Exception as exc:
        from mnist_gpu.config.errors import format_error

        if app is None or app.full_error:
            raise
        failures.append(("", format_error(exc)))
    if app is not None and app.sweep is not None and job is None:
        from mnist_gpu.runs.sweep import close

        close(app.sweep)
    for overrides, failure in failures:
        job_name = f"{overrides}: " if overrides and app is not None and app.sweep else ""
        print(f"mnist-gpu: {job_name}{failure}", file=sys.stderr)
    return failures[-1][1].exit_code if failures else 0


if __name__ == "__main__":
    end()
