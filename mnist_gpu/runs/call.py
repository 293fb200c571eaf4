"""A run started from Python, a notebook or a test."""

import os
import threading
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from mnist_gpu import output
from mnist_gpu.config.compose import check, compose_config
from mnist_gpu.errors import UserError
from mnist_gpu.measure import influences
from mnist_gpu.records.schema import Record
from mnist_gpu.runs.app import configuration_texts
from mnist_gpu.runs.folder import not_there, remove_empty
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
        print(line, file=output.here())
    folder = Path(str(config.hydra.run.dir)).absolute()
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    texts = configuration_texts(own, config.hydra.overrides.task)
    from mnist_gpu.runs.execute import execute
    from mnist_gpu.runs.outcome import SIGNALLED

    made = not_there(folder)
    try:
        record, outcome = execute(settings, folder, stopwatch, texts)
    finally:
        # a run that never started, or went on in its first folder
        remove_empty(made)
    if outcome.exit_code > SIGNALLED:
        raise KeyboardInterrupt
    if outcome.exit_code:
        raise UserError(outcome.line)
    return record
