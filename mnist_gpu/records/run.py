"""An accepted record in the shape that tables and plots work with."""

from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from mnist_gpu.records.schema import Record

Column = tuple[float, ...]
COLUMNS = ("train_s", "eval_s", "train_loss", "train_accuracy", "test_loss", "test_accuracy")
VALUES = attrgetter(*COLUMNS)


@dataclass(frozen=True, slots=True)
class Run:
    """A record, its history turned into columns (a tenth of the size and time of rows).

    Attributes:
        path: the file it came from.
        record: without its epochs.
        train_s, eval_s, train_loss, train_accuracy, test_loss, test_accuracy: one entry an epoch.
    """

    path: Path
    record: Record
    train_s: Column
    eval_s: Column
    train_loss: Column
    train_accuracy: Column
    test_loss: Column
    test_accuracy: Column

    @classmethod
    def of(cls, path: Path, record: Record) -> "Run":
        """Turn the history of a record into columns."""
        rows = map(VALUES, record.epochs)
        columns = list(zip(*rows, strict=True)) or [()] * len(COLUMNS)
        return cls(path, record.model_copy(update={"epochs": []}), *columns)
