"""A run started from Python, a notebook or a test."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from mnist_gpu.config.checks import check
from mnist_gpu.config.complaints import COMPLAINTS, one_line
from mnist_gpu.config.compose import compose_config
from mnist_gpu.errors import UserError
from mnist_gpu.records.schema import Record
from mnist_gpu.runs.checkpoint import write_whole
from mnist_gpu.runs.folder import discard_if_empty
from mnist_gpu.timing.stopwatch import Stopwatch


def run_once(overrides: Sequence[str]) -> Record:
    """Compose, train, record; see `mnist_gpu.run`."""
    stopwatch = Stopwatch()
    try:
        config = compose_config(overrides)
        folder = Path(str(config.hydra.run.dir)).absolute()
    except COMPLAINTS as fault:
        raise UserError(one_line(fault)) from None
    hydra = OmegaConf.masked_copy(config, "hydra").hydra
    settings = check(config)
    if config.launcher != "local":
        raise UserError(f"launcher={config.launcher}: from the command line only")
    if settings.world > 1:
        raise UserError(f"devices={settings.world}: from the command line only; one from Python")
    config = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    write_whole(folder / ".hydra" / "config.yaml", OmegaConf.to_yaml(config).encode())
    tasks = OmegaConf.to_yaml(hydra.overrides.task)
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
