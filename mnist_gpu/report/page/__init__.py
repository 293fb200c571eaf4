"""The one self-contained page: data, styles and scripts in a single file.

It knows rows and runs in full, and histories and details of as many as it can bear.
"""

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from itertools import chain, islice, zip_longest
from typing import Any

from mnist_gpu.numbers import efficiency, figure
from mnist_gpu.records.price import Cost
from mnist_gpu.records.run import Run
from mnist_gpu.records.store import printable
from mnist_gpu.report import comparison
from mnist_gpu.report.compare import MEASURES, UNITS
from mnist_gpu.report.findings import PHASES
from mnist_gpu.report.groups import CATEGORIES
from mnist_gpu.report.rows import Row
from mnist_gpu.report.statistics import CONFIDENCE, ENOUGH, WIDEST, Sample, middle_places
from mnist_gpu.report.summary import Summary
from mnist_gpu.report.table import missing

SCRIPTS = ("dom", "address", "table", "details", "compare", "svg", "charts", "main")
MOST_DETAILS = 80
MOST_RUNS_LISTED = 20_000
MOST_POINTS = 1000
MOST_SIZES = 8
OF_ROW = ("ref", "category", "label", "engine", "origin", "machine", "n", "name", "doubts", "notes")
OF_KEY = (
    *("platform", "division", "precision", "model"),
    *("dataset", "compile", "epochs", "deviations"),
)
USED = {
    "cpu_percent": "CPU use of the process, % (100 is one core)",
    "rss_peak_mib": "Peak memory, MiB",
    "gpu_percent": "GPU use, %",
    "gpu_memory_peak_mib": "Peak GPU memory, MiB",
    "gpu_power_w": "GPU power, W",
    "energy_j": "Energy, J",
    "throttled_s": "Held back by the CPU quota, s",
}


def page(summary: Summary) -> str:
    """The page as HTML.

    Records are data for scripts, never HTML: they stand in one JSON block in which no `<` occurs,
    and the scripts write them as text. A Content-Security-Policy lets only the script named
    by its hash run, and nothing be fetched.
    """
    application = _closed("\n".join(_asset(f"{name}.js") for name in SCRIPTS))
    values = {
        "policy": _policy(application),
        "style": _asset("page.css"),
        "data": json_block(payload(summary)),
        "application": application,
    }
    # one pass, so that nothing inserted is read for placeholders again
    return re.sub(r"\{\{(\w+)\}\}", lambda found: values[found.group(1)], _asset("page.html"))


def json_block(data: Any) -> str:
    """JSON that cannot end the script element around it, nor begin markup."""
    # NaN is no JSON: a browser would refuse the whole page
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _policy(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline';"
        " img-src data:; base-uri 'none'; form-action 'none'"
    )


def _closed(script: str) -> str:
    """A script that cannot end its element; newlines as the browser will hash them."""
    return script.replace("</script", "<\\/script").replace("\r\n", "\n").replace("\r", "\n")


def _asset(name: str) -> str:
    return (files("mnist_gpu.report.page") / name).read_text(encoding="utf-8")


def payload(summary: Summary) -> dict[str, Any]:
    """Plain values for JSON. Colours and layout are the page's business."""
    # a run of each row at a time, so that these few are spread over all rows
    layers = zip_longest(*(row.runs for row in summary.rows))
    # the page is one file: what it holds of 10,000 runs nobody could load
    spread = list(islice(filter(None, chain.from_iterable(layers)), MOST_DETAILS))
    # all runs of a row, unless there are too many for any page
    share = min(1.0, MOST_RUNS_LISTED / max(1, len(summary.runs)))
    stock_of = comparison.stock_of(summary.rows)
    return {
        "categories": CATEGORIES,
        "phases": list(PHASES),
        "used": USED,
        "rows": [_row(row, stock_of.get(row.ref)) for row in summary.rows],
        "runs": {
            row.ref: [_run(run) for run in row.runs[: max(1, int(row.n * share))]]
            for row in summary.rows
        },
        "findings": [asdict(found) for found in summary.findings],
        "compared": _compared(summary.rows),
        "scaling": [
            {
                "ref": entry.row.ref,
                "base": entry.base.ref,
                "devices": entry.devices,
                "weak": entry.weak,
                "efficiency": entry.efficiency.value,
                "text": efficiency(entry.efficiency.value, entry.efficiency.interval),
            }
            for entry in summary.scaling
        ],
        "promised": missing(summary),
        "published": summary.published.model_dump(exclude={"ranges", "far"}),
        "histories": {run.record.run_id: _history(run) for run in spread},
        "details": {run.record.run_id: _details(run) for run in spread},
        "counts": {
            "runs": len(summary.runs),
            "rows": len(summary.rows),
            "unfinished": summary.unfinished,
            "newest": max((run.record.created_at for run in summary.runs), default=None),
            "histories": len(spread),
            "details": len(spread),
        },
    }


def _compared(rows: Sequence[Row]) -> dict[str, Any]:
    """What two ticked rows are compared by: the draws of `report --compare`, and each run's
    measures. A page that cannot bear all of them has the training times alone, in its runs."""
    sizes = Counter(row.n for row in rows if row.n >= ENOUGH).most_common(MOST_SIZES)
    places = {n: [_places(n, side) for side in (0, 1)] for n, _ in sizes}
    points: dict[str, list[list[float | None]]] = {}
    left = MOST_POINTS
    for row in rows:
        left -= row.n
        if left >= 0:
            # what an interval is made of has more digits than its bounds show
            points[row.ref] = [[_short(v, 9) for v in of(row)] for of in MEASURES.values()]
    return {
        "measures": list(MEASURES),
        "units": [UNITS[measure] for measure in MEASURES],
        "confidence": CONFIDENCE,
        "enough": ENOUGH,
        "widest": WIDEST,
        "places": places,
        "points": points,
    }


def _places(n: int, side: int) -> list[list[int]]:
    low, high = middle_places(n, side)
    return [low.tolist()] if n % 2 else [low.tolist(), high.tolist()]


def _row(row: Row, stock: Row | None) -> dict[str, Any]:
    used = {name: row.typical(f"resources.{name}") for name in USED}
    return {
        **{name: getattr(row, name) for name in OF_ROW},
        **{name: getattr(row.key, name) for name in OF_KEY},
        "tuning": row.division,
        "stock": stock and stock.ref,
        "trained": row.trained_by,
        "train": _sample(row.train_s),
        "total": _sample(row.total_s),
        "accuracy": _sample(row.accuracy),
        "interval": _interval_text(row.train_s),
        "gate": {"outcome": row.gate.outcome, "basis": row.gate.basis},
        "cost": {**_cost_text(row.cost), "usd": _short(row.cost.usd), "basis": row.cost.basis},
        "costTo99": None if row.cost_to_99 is None else _cost_text(row.cost_to_99),
        "reached": {
            f"{target:.0%}": {"s": _short(found.train_s), "n": found.n, "of": found.of}
            for target, found in row.reached.items()
        },
        "fronts": sorted(row.fronts),
        "phases": [_short(row.typical(f"timing.{phase}_s")) for phase in PHASES],
        "used": {name: _short(value) for name, value in used.items() if value is not None},
    }


def _sample(sample: Sample) -> dict[str, Any]:
    return {"median": _short(sample.median), "sd": _short(sample.sd), "text": str(sample)}


def _interval_text(sample: Sample) -> str:
    if sample.interval is None:
        return ""
    low, high = (figure(bound, sample.sd) for bound in sample.interval)
    return f"{low} to {high} s"


def _cost_text(cost: Cost) -> dict[str, str]:
    return {"text": cost.text(), "usdText": cost.usd_text()}


def _run(run: Run) -> tuple[str, int, float, float, str]:
    """Id, seed, training time, test accuracy and date; names would be most of a large page."""
    record, accuracy = run.record, run.test_accuracy[-1]
    seed, train_s = record.workload.seed, round(record.timing.train_s, 4)
    return record.run_id, seed, train_s, accuracy, record.created_at


def _short(value: float | None, digits: int = 6) -> float | None:
    """As many digits as anybody sees in a chart."""
    return value if value is None else float(f"{value:.{digits}g}")


def _history(run: Run) -> dict[str, Any]:
    return {
        "train_s": [_short(value) for value in run.train_s],
        "test_accuracy": run.test_accuracy,
        "test_loss": [_short(value) for value in run.test_loss],
        "train_loss": [_short(value) for value in run.train_loss],
    }


def _details(run: Run) -> dict[str, Any]:
    found = run.record.model_dump(exclude={"epochs"})
    path = run.path
    # an absolute path would tell whose disk the page was made on
    found["file"] = printable(path.name if path.is_absolute() else path.as_posix())
    return found
