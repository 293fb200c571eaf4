"""A run's folder: `record.json`, `.hydra/`, `tensorboard/`, `checkpoints/`, `train.log`."""

import shutil
from pathlib import Path


def discard_if_empty(folder: Path) -> None:
    """Remove the folder of a run that never started: nothing in it but its configuration."""
    if any((folder / part).exists() for part in ("record.json", "checkpoints")):
        return
    shutil.rmtree(folder, ignore_errors=True)
    for parent in list(folder.parents)[:2]:
        # outputs/<platform> and outputs, only if they hold nothing else
        try:
            parent.rmdir()
        except OSError:
            return
