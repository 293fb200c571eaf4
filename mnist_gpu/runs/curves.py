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
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from mnist_gpu import files
from mnist_gpu.engines.base import Engine
from mnist_gpu.protocol.workload import Workload
from mnist_gpu.runs.assemble import Run
from mnist_gpu.timing.stopwatch import NANOSECONDS_PER_SECOND
from mnist_gpu.timing.timeline import Epoch, Observer, Timeline

SHOWN_MISTAKES = 16
CLASSES = 10
CELL = 44
TILE = 28 * 3
CAPTION = 18
COLUMNS = 8
PAPER, INK, RIGHT, WRONG = (255, 255, 255), (20, 20, 20), (33, 102, 172), (178, 24, 43)
FINAL_METRICS = ("test_accuracy", "test_loss", "train_s", "total_s")
log = logging.getLogger(__name__)


def opened(run: Run) -> "Table | None":
    """What `logger=csv` or `tensorboard` asks for, in the run's folder; None where it fails."""
    settings, workload, folder = run.settings, run.engine.workload, run.before.folder
    groups = ("platform", "engine", "model")
    values = ("precision", "seed", "epochs", "batch_size", "learning_rate")
    hyper_parameters = {
        **{name: getattr(settings, name).name for name in groups},
        **{name: getattr(settings, name) for name in values},
        "division": run.division,
        "run_id": run.before.run_id,
    }
    try:
        if settings.logger.name == "csv":
            return Table(files.free(folder / "metrics.csv"), workload)
        return Curves(folder / "tensorboard", workload, hyper_parameters)
    except Exception as exc:  # whatever it is, it is no reason not to train
        log.warning("no curves: %s", exc)
        return None


class Table(Observer):
    """Writes a line of figures after every epoch into a new file, the curves' tags as headings."""

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
    """Writes loss, accuracy, time and speed after every epoch, for TensorBoard, and the
    hyper-parameters for its HParams tab."""

    def __init__(self, folder: Path, workload: Workload, hyper_parameters: dict[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads every file whose name has "tfevents" in it
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
        last, dataset = timeline.history[-1], engine.workload.dataset
        figures = self.figures(last)
        values = (last.test_accuracy, last.test_loss, figures["time/train_s"])
        metrics = dict(zip(FINAL_METRICS, (*values, figures["time/total_s"]), strict=True))
        self._scalars(last.epoch, {f"final/{name}": value for name, value in metrics.items()})
        logits, labels = engine.predict(), dataset.test_labels
        predicted = logits.argmax(axis=1)
        wrong = np.flatnonzero(predicted != labels)
        # how much surer the network was of the wrong digit than of the right one
        margins = logits[wrong, predicted[wrong]] - logits[wrong, labels[wrong]]
        shown = wrong[np.argsort(-margins, kind="stable")[:SHOWN_MISTAKES]]
        if len(shown):
            sheet = mistakes(dataset.test_images[shown], labels[shown], predicted[shown])
            self._image(last.epoch, "test/most_confident_mistakes", sheet)
        self._image(last.epoch, "test/confusion_matrix", confusion(labels, predicted))
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
        # TensorBoard's plugin reads it from the metadata, not from the value
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


def confusion(labels: npt.NDArray[np.uint8], predicted: npt.NDArray[np.integer]) -> Image.Image:
    """Draw how often each digit of `labels` (n,), a row, was `predicted` (n,) as each digit."""
    counts = np.zeros((CLASSES, CLASSES), np.int64)
    np.add.at(counts, (labels, predicted), 1)
    most_right = max(1, counts.max())
    # the mistakes are few: they have a scale of their own
    most_wrong = max(1, (counts - np.diag(np.diag(counts))).max())
    is_right = np.eye(CLASSES, dtype=bool)
    shares = counts / np.where(is_right, most_right, most_wrong)
    hues = np.where(is_right[..., None], RIGHT, WRONG)
    cells = np.full((CLASSES + 1, CLASSES + 1, 3), 255, np.uint8)
    cells[1:, 1:] = 255 + (hues - 255) * shares[..., None] * 0.85
    side = CELL * (CLASSES + 1)
    picture = Image.fromarray(cells).resize((side, side), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(picture)
    draw.text((4, CELL // 2 - 8), "is \\ as", fill=INK, font=ImageFont.load_default(11))
    for digit in range(CLASSES):
        _centred(draw, digit + 1, 0, digit, INK)
        _centred(draw, 0, digit + 1, digit, INK)
    for row, column in np.argwhere(counts):
        ink = PAPER if shares[row, column] > 0.6 else INK
        _centred(draw, column + 1, row + 1, counts[row, column], ink)
    return picture


def mistakes(
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.uint8],
    predicted: npt.NDArray[np.integer],
) -> Image.Image:
    """Draw `images` (n, 28, 28) with "is 4, as 9" under each, by `labels` and `predicted` (n,)."""
    columns = min(COLUMNS, len(images))
    rows = -(-len(images) // columns)
    picture = Image.new("RGB", (columns * (TILE + 4), rows * (TILE + CAPTION + 4)), PAPER)
    draw = ImageDraw.Draw(picture)
    for number, image in enumerate(images):
        left, top = (number % columns) * (TILE + 4), (number // columns) * (TILE + CAPTION + 4)
        tile = Image.fromarray(255 - image).resize((TILE, TILE), Image.Resampling.NEAREST)
        picture.paste(tile, (left, top))
        caption = f"is {labels[number]}, as {predicted[number]}"
        font = ImageFont.load_default(13)
        draw.text((left + 4, top + TILE + 1), caption, fill=WRONG, font=font)
    return picture


def _centred(
    draw: ImageDraw.ImageDraw, column: int, row: int, number: int, fill: tuple[int, int, int]
) -> None:
    centre = (float(column * CELL + CELL // 2), float(row * CELL + CELL // 2))
    draw.text(centre, str(number), fill=fill, font=ImageFont.load_default(13), anchor="mm")
