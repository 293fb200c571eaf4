"""The files of a report: the page, and all runs as one flat table for whoever works out more."""

import csv
import io
from collections.abc import Iterator
from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path
from typing import Any, get_origin

from mnist_gpu.errors import UserError
from mnist_gpu.files import trouble, write_own
from mnist_gpu.protocol.standard import protocol
from mnist_gpu.records.schema import Record
from mnist_gpu.report.cost import run_cost
from mnist_gpu.report.page import page
from mnist_gpu.report.statistics import time_to
from mnist_gpu.report.summary import Summary

PARTS = ("platform", "engine", "hardware", "software", "workload", "timing", "result", "resources")
COSTS = ("amount", "unit", "usd", "estimate", "basis")
# a spreadsheet takes a text that begins so for a formula
FORMULA_STARTS = {"=", "+", "-", "@", "\t", "\r"}
INSTALL = "pip install 'mnist-gpu[report]'"
Columns = dict[str, list[Any]]


def write_files(summary: Summary, folder: Path) -> Iterator[str]:
    """Write the page and the tables of all runs; yield a line about each.

    Raises:
        UserError: the folder cannot be written to, or holds files of those names that are not from
            an earlier report, or were changed since; then nothing is written.
    """
    columns = flat_runs(summary)
    contents = {"runs.csv": as_csv(columns)}
    lacking = []
    if find_spec("pyarrow") is not None:
        contents["runs.parquet"] = as_parquet(columns)
    else:
        lacking.append(f"no runs.parquet: it needs pyarrow ({INSTALL})")
    contents["index.html"] = page(summary).encode()
    try:
        write_own(folder, contents)
    except OSError as exc:
        raise UserError(trouble(exc, folder)) from None
    yield from [f"wrote {folder / name}" for name in contents]
    yield from lacking


def flat_runs(summary: Summary) -> Columns:
    """Columns named `part.field`, with an entry for each run; the history is not in it."""
    runs, records = summary.runs, [run.record for run in summary.runs]
    row_of = {id(run): row for row in summary.rows for run in row.runs}
    rows = [row_of.get(id(run)) for run in runs]
    found: Columns = {
        "run_id": [record.run_id for record in records],
        "row": [row.ref if row else "" for row in rows],
        "category": [
            row.category if row else record.status
            for row, record in zip(rows, records, strict=True)
        ],
        "doubts": ["; ".join(row.doubts) if row else "" for row in rows],
        "created_at": [record.created_at for record in records],
        "status": [record.status for record in records],
    }
    found |= _parts(records)
    for target in protocol()["targets"]:
        found[f"time_to_{100 * target:.0f}_s"] = [time_to(run, target) for run in runs]
    costs = list(map(run_cost, runs))
    return found | {f"cost.{name}": [getattr(cost, name) for cost in costs] for name in COSTS}


def as_csv(columns: Columns) -> bytes:
    """The runs as UTF-8 CSV."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(zip(*map(_harmless, columns.values()), strict=True))
    return text.getvalue().encode()


def as_parquet(columns: Columns) -> bytes:
    """The runs as Parquet (needs pyarrow, in the `report` extra)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def _parts(records: list[Record]) -> Columns:
    """The fields of the records' parts, but mappings, by their dotted names."""
    if not records:
        return {}
    kinds = {
        f"{part}.{name}": get_origin(field.annotation)
        for part in PARTS
        for name, field in type(getattr(records[0], part)).model_fields.items()
    }
    # a mapping has other keys in each record, and a table has columns
    names = [name for name, kind in kinds.items() if kind is not dict]
    # all of one record at once: thousands of records do not fit the processor's cache
    found = dict(zip(names, zip(*map(attrgetter(*names), records), strict=True), strict=True))
    return {
        name: ["; ".join(each) for each in values] if kinds[name] is list else list(values)
        for name, values in found.items()
    }


def _harmless(values: list[Any]) -> list[Any]:
    """What no spreadsheet takes for a formula."""
    if str not in set(map(type, values)):
        return values
    return [
        f"'{value}" if type(value) is str and value[:1] in FORMULA_STARTS else value
        for value in values
    ]
