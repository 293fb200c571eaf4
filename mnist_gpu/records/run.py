"""An accepted record in the shape that tables and plots work with."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from mnist_gpu.records.schema import Record

Column = tuple[float, ...]
COLUMNS = ("train_s", "eval_s", "train_loss", "train_accuracy", "test_loss", "test_accuracy")
# the epochs looked at last, and what was asked of them
_latest: list[tuple[Sequence[Any], dict[str, list[Any]]]] = [((), {})]


def column(record: Record, field: str) -> list[Any]:
    """One field of every epoch; not to be changed. It is kept until another record is asked."""
    epochs, known = _latest[0]
    if epochs is not record.epochs:
        epochs, known = _latest[0] = record.epochs, {}
    if field not in known:
        known[field] = list(map(attrgetter(field), epochs))
    return known[field]


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
        # thousands of records are held at once, and rows of objects would be most of their memory
        columns = [tuple(column(record, name)) for name in COLUMNS]
        return cls(path, record.model_copy(update={"epochs": []}), *columns)
