"""One comparison in this process: `python -m mnist_gpu.parity.worker JSON` prints its rows."""

import json
import math
import sys
from typing import Any

from mnist_gpu import data
from mnist_gpu.engines.base import EngineOptions
from mnist_gpu.errors import UserError
from mnist_gpu.parity import compare
from mnist_gpu.parity.reference import Faults


def run(task: dict[str, Any]) -> dict[str, Any]:
    """Compare as `task` says: model, engine, options, steps, seed, faults."""
    dataset = data.load({"source": "auto"}, announce=lambda line: None)
    load = compare.make_workload(task["model"], "float64", task["steps"], dataset, task["seed"])
    options, faults = EngineOptions(**task["options"]), Faults(**task["faults"])
    found = compare.differences(load, task["engine"], options, faults)
    return {"bound": compare.BOUNDS["float64"], "rows": _finite(compare.as_rows(found))}


def _finite(rows: list[dict[str, float]]) -> list[dict[str, float | None]]:
    """JSON has no infinity and no not-a-number."""
    return [
        {key: value if math.isfinite(value) else None for key, value in row.items()} for row in rows
    ]


def main() -> int:
    """Print one line of JSON."""
    try:
        print(json.dumps(run(json.loads(sys.argv[1]))))
    except UserError as fault:
        print(fault, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
