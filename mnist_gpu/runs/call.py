"""A run started from Python, a notebook or a test."""

import threading
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from mnist_gpu.config.checks import check
from mnist_gpu.config.complaints import COMPLAINTS, one_line
from mnist_gpu.config.compose import compose_config
from mnist_gpu.errors import UserError
from mnist_gpu.records.schema import Record
from mnist_gpu.runs.app import configuration_texts
from mnist_gpu.runs.folder import not_there, remove_empty
from mnist_gpu.timing.stopwatch import Stopwatch

# timed runs never share a device; a run that a run's callback starts is part of that one
_one_at_a_time = threading.RLock()


def run_once(overrides: Sequence[str]) -> Record:
    """Compose, train, record; see `mnist_gpu.run`."""
    with _one_at_a_time:
        return _run_once(overrides)


def _run_once(overrides: Sequence[str]) -> Record:
    stopwatch = Stopwatch()
    try:
        config = compose_config(overrides)
        folder = Path(str(config.hydra.run.dir)).absolute()
    except COMPLAINTS as exc:
        raise UserError(one_line(exc)) from None
    settings = check(config)
    if config.launcher != "local":
        raise UserError(f"launcher={config.launcher}: from the command line only")
    if settings.world > 1:
        raise UserError(f"devices={settings.world}: from the command line only; one from Python")
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
