"""All runs as one flat table, for whoever wants to work out more: CSV and Parquet."""

import csv
import io
from collections.abc import Sequence
from typing import Any

from mnist_gpu.records.run import Run
from mnist_gpu.report.cost import run_cost
from mnist_gpu.report.rows import Row
from mnist_gpu.report.statistics import time_to
from mnist_gpu.report.summary import Summary

PARTS = ("platform", "engine", "hardware", "software", "workload", "timing", "result", "resources")
# a spreadsheet takes a text that begins so for a formula
FORMULA_STARTS = {"=", "+", "-", "@", "\t", "\r"}


def flat_runs(summary: Summary) -> list[dict[str, Any]]:
    """One mapping a run, columns named `part.field`; the history is not in it."""
    row_of = {id(run): row for row in summary.rows for run in row.group.runs}
    return [_flat(run, row_of.get(id(run))) for run in summary.runs]


def as_csv(runs: Sequence[dict[str, Any]]) -> bytes:
    """The runs as UTF-8 CSV."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(list(runs[0]) if runs else ["run_id"])
    writer.writerows([_harmless(value) for value in run.values()] for run in runs)
    return text.getvalue().encode()


def as_parquet(runs: Sequence[dict[str, Any]]) -> bytes:
    """The runs as Parquet (needs pyarrow, in the `report` extra)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(runs)), buffer)
    return buffer.getvalue()


def _flat(run: Run, row: Row | None) -> dict[str, Any]:
    record = run.record
    cost = run_cost(run)
    found: dict[str, Any] = {
        "run_id": record.run_id,
        "row": row.ref if row else "",
        "category": row.category if row else record.status,
        "doubts": "; ".join(row.doubts) if row else "",
        "created_at": record.created_at,
        "status": record.status,
    }
    for part in PARTS:
        for name, value in getattr(record, part).__dict__.items():
            if isinstance(value, dict):
                continue
            found[f"{part}.{name}"] = "; ".join(value) if isinstance(value, list) else value
    for target in (0.97, 0.98, 0.99):
        found[f"time_to_{target:.0%}_s".replace("%", "")] = time_to(run, target)
    found |= {
        "cost.amount": cost.amount,
        "cost.unit": cost.unit,
        "cost.usd": cost.usd,
        "cost.estimate": cost.estimate,
        "cost.basis": cost.basis,
    }
    return found


def _harmless(value: Any) -> Any:
    formula = type(value) is str and value[:1] in FORMULA_STARTS
    return f"'{value}" if formula else value
