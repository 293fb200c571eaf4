"""Curves and pictures for TensorBoard, or the curves as a table; without any training framework.

The event file's name carries no host name, unlike the usual writers'.
"""

import csv
import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

from mnist_gpu.timing.stopwatch import PHASES
from mnist_gpu.timing.timeline import Epoch, Observer, Timeline

SHOWN_MISTAKES = 16
FINAL_METRICS = ("test_accuracy", "test_loss", "train_s", "total_s")


def scalars(
    row: Epoch, timeline: Timeline, images_per_epoch: int, learning_rate: float
) -> dict[str, float]:
    """The point that an epoch adds to each curve, by tag: the same in every engine."""
    totals_ns = timeline.stopwatch.totals_ns()
    return {
        "loss/train": row.train_loss,
        "loss/test": row.test_loss,
        "accuracy/train": row.train_accuracy,
        "accuracy/test": row.test_accuracy,
        "time/epoch_train_s": row.train_s,
        "time/epoch_eval_s": row.eval_s,
        **({} if row.data_wait_s is None else {"time/data_wait_s": row.data_wait_s}),
        "time/train_s": totals_ns["train"] / 1e9,
        "time/total_s": sum(totals_ns[phase] for phase in PHASES) / 1e9,
        "speed/images_per_s": images_per_epoch / row.train_s if row.train_s else 0.0,
        "learning_rate": learning_rate,
    }


class Table(Observer):
    """Writes a line of figures after every epoch, with the curves' tags as headings.

    Args:
        path: a new file.
        images_per_epoch, learning_rate: as for `Curves`.
    """

    def __init__(self, path: Path, images_per_epoch: int, learning_rate: float) -> None:
        self._file = path.open("x", newline="", encoding="utf-8")
        self._writer: csv.DictWriter[str] | None = None
        self._fixed = (images_per_epoch, learning_rate)
        self._timeline: Timeline | None = None

    def began(self, timeline: Timeline) -> None:
        """Keep the timeline, to read the time from."""
        self._timeline = timeline

    def epoch_ended(self, row: Epoch) -> None:
        """Add the epoch's line."""
        assert self._timeline is not None
        figures = {"epoch": row.epoch, **scalars(row, self._timeline, *self._fixed)}
        if self._writer is None:
            self._writer = csv.DictWriter(self._file, figures)
            self._writer.writeheader()
        self._writer.writerow(figures)
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Curves(Observer):
    """Writes loss, accuracy, time and speed after every epoch.

    Args:
        folder: where the event file goes (`tensorboard/` in the run's folder).
        hyper_parameters: for the HParams tab.
        images_per_epoch: to work out images per second.
        learning_rate: constant in the protocol, drawn all the same.
    """

    def __init__(
        self,
        folder: Path,
        hyper_parameters: dict[str, Any],
        images_per_epoch: int,
        learning_rate: float,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"events.out.tfevents.{time.time_ns() // 1000}.mnist-gpu"
        self._file = path.open("xb")
        self._records = RecordWriter(self._file)
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))
        self.hyper_parameters = hyper_parameters
        self.images_per_epoch = images_per_epoch
        self.learning_rate = learning_rate
        self._timeline: Timeline | None = None

    def began(self, timeline: Timeline) -> None:
        """Name the hyper-parameters, so that the HParams tab compares the runs of a sweep."""
        self._timeline = timeline
        self._hparams(metadata.EXPERIMENT_TAG, experiment=_experiment(self.hyper_parameters))
        self._hparams(metadata.SESSION_START_INFO_TAG, session_start_info=self._session())
        self._file.flush()

    def epoch_ended(self, row: Epoch) -> None:
        """Add one point to every curve."""
        assert self._timeline is not None
        points = scalars(row, self._timeline, self.images_per_epoch, self.learning_rate)
        self._scalars(row.epoch, points)
        self._file.flush()

    def final(
        self,
        epoch: int,
        metrics: dict[str, float],
        images: npt.NDArray[np.uint8],
        labels: npt.NDArray[np.uint8],
        logits: npt.NDArray[np.float32],
    ) -> None:
        """Add the final metrics, a few misclassified digits and the confusion matrix."""
        from mnist_gpu.runs import pictures

        self._scalars(epoch, {f"final/{name}": value for name, value in metrics.items()})
        predicted = logits.argmax(axis=1)
        wrong = np.flatnonzero(predicted != labels)
        margins = logits[wrong, predicted[wrong]] - logits[wrong, labels[wrong]]
        shown = wrong[np.argsort(-margins, kind="stable")[:SHOWN_MISTAKES]]
        if len(shown):
            sheet = pictures.mistakes(images[shown], labels[shown], predicted[shown])
            self._image(epoch, "test/most_confident_mistakes", sheet)
        self._image(epoch, "test/confusion_matrix", pictures.confusion(labels, predicted))
        end = plugin_data_pb2.SessionEndInfo(
            status=api_pb2.STATUS_SUCCESS, end_time_secs=time.time()
        )
        self._hparams(metadata.SESSION_END_INFO_TAG, session_end_info=end)
        self._file.flush()

    def close(self) -> None:
        """Close the event file."""
        self._file.close()

    def _scalars(self, step: int, points: dict[str, float]) -> None:
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in points.items()]
        self._summary(step, Summary(value=values))

    def _image(self, step: int, tag: str, picture: Any) -> None:
        buffer = io.BytesIO()
        picture.save(buffer, format="PNG")
        image = Summary.Image(
            height=picture.height,
            width=picture.width,
            colorspace=3,
            encoded_image_string=buffer.getvalue(),
        )
        self._summary(step, Summary(value=[Summary.Value(tag=tag, image=image)]))

    def _session(self) -> Any:
        session = plugin_data_pb2.SessionStartInfo(start_time_secs=time.time())
        for name, value in self.hyper_parameters.items():
            if isinstance(value, str):
                session.hparams[name].string_value = value
            else:
                session.hparams[name].number_value = value
        return session

    def _hparams(self, tag: str, **data: Any) -> None:
        content = plugin_data_pb2.HParamsPluginData(version=metadata.PLUGIN_DATA_VERSION, **data)
        about = metadata.create_summary_metadata(content)
        value = Summary.Value(tag=tag, metadata=about, tensor=metadata.NULL_TENSOR)
        self._summary(0, Summary(value=[value]))

    def _summary(self, step: int, summary: Summary) -> None:
        self._write(Event(wall_time=time.time(), step=step, summary=summary))

    def _write(self, event: Event) -> None:
        self._records.write(event.SerializeToString())


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
