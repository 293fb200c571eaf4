"""The curves that a run leaves: `logger=tensorboard` or `csv`, without any training framework.

The event file's name carries no host name, unlike the usual writers'.
"""

import csv
import io
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from mnist_gpu import files
from mnist_gpu.config.settings import Settings
from mnist_gpu.engines.base import Engine
from mnist_gpu.protocol.workload import Workload
from mnist_gpu.timing.stopwatch import NANOSECONDS_PER_SECOND
from mnist_gpu.timing.timeline import Epoch, Observer, Timeline

SHOWN_MISTAKES = 16
FINAL_METRICS = ("test_accuracy", "test_loss", "train_s", "total_s")
log = logging.getLogger(__name__)


def opened(
    settings: Settings, workload: Workload, division: str, folder: Path, run_id: str
) -> "Table | None":
    """What `logger=csv` or `tensorboard` asks for, in the run's folder; None where it fails."""
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
    try:
        if settings.logger.name == "csv":
            return Table(files.free(folder / "metrics.csv"), workload)
        return Curves(folder / "tensorboard", workload, hyper_parameters)
    except Exception as exc:  # whatever it is, it is no reason not to train
        log.warning("no curves: %s", exc)
        return None


class Table(Observer):
    """Writes a line of figures after every epoch, with the curves' tags as headings.

    Args:
        path: a new file.
        workload: to work out images per second; its learning rate is drawn although constant.
    """

    def __init__(self, path: Path, workload: Workload) -> None:
        self._file: Any = path.open("x", newline="", encoding="utf-8")
        self._workload = workload
        self._timeline: Timeline | None = None

    def began(self, timeline: Timeline) -> None:
        """Keep the timeline, to read the time from."""
        self._timeline = timeline

    def epoch_ended(self, row: Epoch) -> None:
        """Add the epoch's line, the first one with the headings."""
        figures = {"epoch": row.epoch, **self.figures(row)}
        writer = csv.DictWriter(self._file, figures)
        if self._file.tell() == 0:
            writer.writeheader()
        writer.writerow(figures)
        self._file.flush()

    def figures(self, row: Epoch) -> dict[str, float]:
        """The point that an epoch adds to each curve, by tag: the same in every engine."""
        assert self._timeline is not None
        totals_ns = self._timeline.stopwatch.totals_ns()
        images = len(self._workload.dataset.train_labels)
        return {
            "loss/train": row.train_loss,
            "loss/test": row.test_loss,
            "accuracy/train": row.train_accuracy,
            "accuracy/test": row.test_accuracy,
            "time/epoch_train_s": row.train_s,
            "time/epoch_eval_s": row.eval_s,
            **({} if row.data_wait_s is None else {"time/data_wait_s": row.data_wait_s}),
            "time/train_s": totals_ns["train"] / NANOSECONDS_PER_SECOND,
            "time/total_s": sum(totals_ns.values()) / NANOSECONDS_PER_SECOND,
            "speed/images_per_s": images / row.train_s if row.train_s else 0.0,
            "learning_rate": self._workload.learning_rate,
        }

    def finish(self, engine: Engine, timeline: Timeline) -> None:
        """Add what is known at the end alone, and close; a failure costs the curves alone."""
        try:
            if timeline.history:
                self.final(engine, timeline)
            self.close()
        except Exception as exc:  # whatever it is, the training is done
            log.warning("the curves are incomplete: %s", exc)

    def final(self, engine: Engine, timeline: Timeline) -> None:
        """A table ends with its last epoch."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Curves(Table):
    """Writes loss, accuracy, time and speed after every epoch, for TensorBoard.

    Args:
        folder: where the event file goes (`tensorboard/` in the run's folder).
        workload: as for a table.
        hyper_parameters: for the HParams tab.
    """

    def __init__(self, folder: Path, workload: Workload, hyper_parameters: dict[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / f"events.out.tfevents.{time.time_ns() // 1000}.mnist-gpu").open("xb")
        self._records = RecordWriter(self._file)
        self._records.write(
            Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString()
        )
        self._workload = workload
        self._hyper_parameters = hyper_parameters
        self._timeline = None

    def began(self, timeline: Timeline) -> None:
        """Name the hyper-parameters, so that the HParams tab compares the runs of a sweep."""
        self._timeline = timeline
        experiment = _experiment(self._hyper_parameters)
        self._hparams(metadata.EXPERIMENT_TAG, experiment=experiment)
        self._write(0, hparams_pb(self._hyper_parameters).value)

    def epoch_ended(self, row: Epoch) -> None:
        """Add one point to every curve."""
        self._scalars(row.epoch, self.figures(row))

    def final(self, engine: Engine, timeline: Timeline) -> None:
        """Add the final metrics, a few misclassified digits and the confusion matrix."""
        from mnist_gpu.runs import pictures

        last, dataset = timeline.history[-1], engine.workload.dataset
        figures = self.figures(last)
        values = (last.test_accuracy, last.test_loss, figures["time/train_s"])
        metrics = dict(zip(FINAL_METRICS, (*values, figures["time/total_s"]), strict=True))
        self._scalars(last.epoch, {f"final/{name}": value for name, value in metrics.items()})
        logits, labels = engine.predict(), dataset.test_labels
        predicted = logits.argmax(axis=1)
        wrong = np.flatnonzero(predicted != labels)
        margins = logits[wrong, predicted[wrong]] - logits[wrong, labels[wrong]]
        shown = wrong[np.argsort(-margins, kind="stable")[:SHOWN_MISTAKES]]
        if len(shown):
            sheet = pictures.mistakes(dataset.test_images[shown], labels[shown], predicted[shown])
            self._image(last.epoch, "test/most_confident_mistakes", sheet)
        self._image(last.epoch, "test/confusion_matrix", pictures.confusion(labels, predicted))
        end = plugin_data_pb2.SessionEndInfo(
            status=api_pb2.STATUS_SUCCESS, end_time_secs=time.time()
        )
        self._hparams(metadata.SESSION_END_INFO_TAG, session_end_info=end)

    def _scalars(self, step: int, points: dict[str, float]) -> None:
        self._write(step, [{"tag": tag, "simple_value": value} for tag, value in points.items()])

    def _image(self, step: int, tag: str, picture: Any) -> None:
        buffer = io.BytesIO()
        picture.save(buffer, format="PNG")
        image = {
            "height": picture.height,
            "width": picture.width,
            "colorspace": 3,  # RGB
            "encoded_image_string": buffer.getvalue(),
        }
        self._write(step, [{"tag": tag, "image": image}])

    def _hparams(self, tag: str, **data: Any) -> None:
        content = plugin_data_pb2.HParamsPluginData(version=metadata.PLUGIN_DATA_VERSION, **data)
        about = metadata.create_summary_metadata(content)
        self._write(0, [{"tag": tag, "metadata": about, "tensor": metadata.NULL_TENSOR}])

    def _write(self, step: int, values: Any) -> None:
        event = Event(wall_time=time.time(), step=step, summary={"value": values})
        self._records.write(event.SerializeToString())
        # whoever watches sees it now, and a killed run has lost none
        self._file.flush()


def _experiment(hyper_parameters: dict[str, Any]) -> Any:
    """What the HParams tab shows as columns: every hyper-parameter and the final metrics."""
    kinds = {True: api_pb2.DATA_TYPE_STRING, False: api_pb2.DATA_TYPE_FLOAT64}
    return api_pb2.Experiment(
        hparam_infos=[
            api_pb2.HParamInfo(name=name, type=kinds[isinstance(value, str)])
            for name, value in hyper_parameters.items()
        ],
        metric_infos=[
            api_pb2.MetricInfo(name=api_pb2.MetricName(tag=f"final/{name}"))
            for name in FINAL_METRICS
        ],
    )
