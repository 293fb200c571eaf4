"""A sweep: one record a job, none of them made twice, one closing table."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean, median, stdev
from typing import TYPE_CHECKING

from mnist_gpu import output
from mnist_gpu.config import deviations
from mnist_gpu.config.compose import read_settings
from mnist_gpu.errors import UserError
from mnist_gpu.numbers import counted
from mnist_gpu.version import __version__

if TYPE_CHECKING:
    from mnist_gpu.records.schema import Record

log = logging.getLogger(__name__)


@dataclass
class Sweep:
    """A sweep's folder, and the records of earlier sweeps that made a job needless."""

    folder: Path
    found: list[Path] = field(default_factory=list)


def find_done(fingerprint: str, sweep: Sweep) -> "tuple[Path, Record] | None":
    """The newest acceptable, completed record of this configuration, data set and version.

    Looked for in the sweeps beside the present one, whose closing table then shows what was found.
    """
    from mnist_gpu.records.rules import check_record
    from mnist_gpu.records.store import read_record

    paths = sweep.folder.parent.glob("*/*/record.json")
    others = [path for path in paths if sweep.folder not in path.parents]
    # the newest: what a user has just mended counts
    for path in sorted(others, key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            record = read_record(path)
            settings = read_settings(path.parent / ".hydra" / "config.yaml")
        except UserError:
            continue
        # of the data that it had: a folder may hold others by now
        same = deviations.fingerprint(settings, record.workload.dataset_sha256) == fingerprint
        current = record.software.program_version == __version__
        whole = record.status == "completed" and len(record.epochs) == record.workload.epochs
        if same and current and whole and not check_record(record, datetime.now(UTC)):
            sweep.found.append(path)
            return path, record
    return None


def close(sweep: Sweep) -> None:
    """Print every job with mean, standard deviation and median, those found instead of made too."""
    from rich.table import Table

    from mnist_gpu.records.store import read_record

    records = []
    paths = [*sweep.folder.glob("*/record.json"), *sweep.found]
    for path in sorted(paths, key=lambda path: _number(path.parent.name)):
        try:
            records.append(read_record(path))
        except UserError as exc:
            log.warning("%s", exc)
    console = output.console()
    table = Table(title=counted(len(records), "run"), title_justify="left")
    for heading in ("platform", "engine", "seed"):
        table.add_column(heading)
    for heading in ("train s", "total s", "test accuracy"):
        table.add_column(heading, justify="right")
    for record in records:
        names = (record.platform.name, record.engine.name, str(record.workload.seed))
        table.add_row(*names, *_figures([record], mean))
    table.add_section()
    for name, statistic in (("mean", mean), ("standard deviation", stdev), ("median", median)):
        if len(records) > 1:
            table.add_row(name, "", "", *_figures(records, statistic))
    console.print(table)
    console.print(f"records {sweep.folder}", markup=False, soft_wrap=True)


def _number(name: str) -> tuple[int, str]:
    number = name.partition("-")[0]
    return (int(number) if number.isdigit() else 0, name)


def _figures(
    records: "Sequence[Record]", statistic: Callable[[Sequence[float]], float]
) -> list[str]:
    accuracies = [r.result.test_accuracy for r in records if r.result.test_accuracy is not None]
    return [
        f"{statistic([record.timing.train_s for record in records]):,.2f}",
        f"{statistic([record.timing.total_s for record in records]):,.2f}",
        f"{statistic(accuracies):.2%}" if len(accuracies) >= min(2, len(records)) else "",
    ]
