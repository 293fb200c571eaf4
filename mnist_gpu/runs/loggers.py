"""Which curves a run leaves: `logger=tensorboard`, `csv` or `none`, in every engine."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_gpu import files
from mnist_gpu.config.settings import Settings
from mnist_gpu.engines.base import Engine
from mnist_gpu.timing.timeline import Timeline

if TYPE_CHECKING:
    from mnist_gpu.runs.curves import Curves, Table

log = logging.getLogger(__name__)


def open_curves(
    settings: Settings, engine: Engine, division: str, folder: Path, run_id: str
) -> "Curves | Table | None":
    """What `logger=` asks for, in the run's folder; None for none, and where it cannot be made."""
    if settings.logger.name == "none":
        return None
    from mnist_gpu.runs.curves import Curves, Table

    hyper_parameters = {
        "platform": settings.platform.name,
        "engine": settings.engine.name,
        "division": division,
        "model": settings.model.name,
        "precision": settings.precision,
        "seed": settings.seed,
        "epochs": settings.epochs,
        "batch_size": settings.batch_size,
        "learning_rate": settings.learning_rate,
        "run_id": run_id,
    }
    fixed = (len(engine.workload.dataset.train_labels), settings.learning_rate)
    try:
        if settings.logger.name == "csv":
            return Table(files.free(folder / "metrics.csv"), *fixed)
        return Curves(folder / "tensorboard", hyper_parameters, *fixed)
    except Exception as fault:  # whatever it is, it is no reason not to train
        log.warning("no curves: %s", fault)
        return None


def finish(curves: "Curves | Table", engine: Engine, timeline: Timeline) -> None:
    """Add what is known at the end alone, and close."""
    from mnist_gpu.runs.curves import Curves

    try:
        if timeline.history and isinstance(curves, Curves):
            totals_ns = timeline.stopwatch.totals_ns()
            last = timeline.history[-1]
            metrics = {
                "test_accuracy": last.test_accuracy,
                "test_loss": last.test_loss,
                "train_s": totals_ns["train"] / 1e9,
                "total_s": sum(totals_ns.values()) / 1e9,
            }
            dataset = engine.workload.dataset
            curves.final(
                last.epoch, metrics, dataset.test_images, dataset.test_labels, engine.predict()
            )
        curves.close()
    except Exception as fault:  # whatever it is, the training is done
        log.warning("the curves are incomplete: %s", fault)
