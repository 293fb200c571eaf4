"""A run started from Python, a notebook or a test."""

import os
import threading
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from mnist_gpu.config.compose import check, compose_config
from mnist_gpu.errors import UserError
from mnist_gpu.measure import influences
from mnist_gpu.records.schema import Record
from mnist_gpu.runs.checkpoint import write_whole
from mnist_gpu.runs.folder import discard_if_empty
from mnist_gpu.timing.stopwatch import Stopwatch

# frameworks keep their device, backend and random state for the whole process
_running = threading.Lock()


def run_once(overrides: Sequence[str]) -> Record:
    """Compose, train, record; see `mnist_gpu.run`."""
    if not _running.acquire(blocking=False):
        raise UserError("a run is going on in this process already: one at a time")
    try:
        return _run(overrides, Stopwatch())
    finally:
        _running.release()


def _run(overrides: Sequence[str], stopwatch: Stopwatch) -> Record:
    config = compose_config(overrides)
    settings = check(config)
    for what, is_asked in (
        (f"launcher={settings.launcher}", settings.launcher != "local"),
        (f"devices={settings.world}", settings.world > 1),
    ):
        if is_asked:
            raise UserError(f"{what}: from the command line only")
    for line in influences.refuse_or_neutralise(os.environ, settings.engine.uses):
        print(line)
    folder = Path(str(config.hydra.run.dir)).absolute()
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    write_whole(folder / ".hydra" / "config.yaml", OmegaConf.to_yaml(own).encode())
    tasks = OmegaConf.to_yaml(config.hydra.overrides.task)
    write_whole(folder / ".hydra" / "overrides.yaml", tasks.encode())
    from mnist_gpu.runs.execute import execute
    from mnist_gpu.runs.outcome import SIGNALLED

    try:
        record, outcome = execute(settings, folder, stopwatch)
    finally:
        # a run that never started, or went on in its first folder
        discard_if_empty(folder)
    if outcome.exit_code > SIGNALLED:
        raise KeyboardInterrupt
    if outcome.exit_code:
        raise UserError(outcome.line)
    return record
