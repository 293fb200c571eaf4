"""Everything the table, the page and the findings say, worked out once from the runs."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import median

from mnist_gpu.report.cost import Cost, cost_to, run_cost
from mnist_gpu.protocol.standard import protocol
from mnist_gpu.report.findings import Finding, find
from mnist_gpu.report.gate import gates
from mnist_gpu.report.groups import Group, group_runs
from mnist_gpu.report.rows import Reached, Row
from mnist_gpu.report.run import Run
from mnist_gpu.report.scaling import Scaling, scaling
from mnist_gpu.report.statistics import doubts, samples, time_to


@dataclass(frozen=True)
class Summary:
    """The whole report.

    Attributes:
        rows: those of the standard first, then the fastest first.
        findings: sentences with links to rows.
        runs: every accepted run, completed or not.
        unfinished: how many runs ended in which way but `completed`.
        scaling: rows on several devices beside those on one.
    """

    rows: list[Row]
    findings: list[Finding]
    runs: list[Run]
    unfinished: dict[str, int]
    scaling: list[Scaling]


def summarise(runs: Sequence[Run]) -> Summary:
    """Group the runs and work out what each group says."""
    groups = group_runs(runs)
    gate_of = gates(groups)
    train = samples([group.train_s for group in groups])
    total = samples([group.total_s for group in groups])
    accuracy = samples([group.accuracy for group in groups])
    times_seen = Counter(run.train_s for run in runs)
    rows = [
        Row(
            group=group,
            label=_label(group),
            train_s=train[position],
            total_s=total[position],
            accuracy=accuracy[position],
            gate=gate_of[group.ref],
            cost=_typical([run_cost(run) for run in group.runs]),
            cost_to_99=_cost_to_99(group),
            reached=_reached(group),
            doubts=(*doubts(group.runs, train[position]), *_copied(group, times_seen)),
        )
        for position, group in enumerate(groups)
    ]
    unfinished = Counter(str(run.record.status) for run in runs)
    del unfinished["completed"]
    _mark_fronts(rows)
    return Summary(rows, find(rows), list(runs), dict(unfinished), scaling(rows))


def _copied(group: Group, times_seen: Counter[tuple[float, ...]]) -> list[str]:
    copies = sum(bool(run.train_s) and times_seen[run.train_s] > 1 for run in group.runs)
    return [f"{copies} of {len(group.runs)} runs share their epoch times with another"] * bool(
        copies
    )


def _mark_fronts(rows: Sequence[Row]) -> None:
    """Mark the rows that none beats in both time (or dollars) and accuracy."""
    judged = [row for row in rows if row.category == "standard" and row.gate.passed is not False]
    for row in _front(judged, lambda row: row.train_s.median):
        row.fronts.add("time")
    priced = [row for row in judged if row.cost.usd is not None]
    for row in _front(priced, lambda row: row.cost.usd or 0.0):
        row.fronts.add("cost")


def _front(rows: Sequence[Row], spent: Callable[[Row], float]) -> list[Row]:
    found: list[Row] = []
    for row in sorted(rows, key=lambda row: (spent(row), -row.accuracy.mean)):
        if not found or row.accuracy.mean > found[-1].accuracy.mean + 1e-9:
            found.append(row)
    return found


def _reached(group: Group) -> dict[float, Reached]:
    found = {}
    for target in protocol()["targets"]:
        times = [time for run in group.runs if (time := time_to(run, target)) is not None]
        found[target] = Reached(median(times) if times else None, len(times), len(group.runs))
    return found


def _cost_to_99(group: Group) -> Cost | None:
    costs = [cost for run in group.runs if (cost := cost_to(run, 0.99)) is not None]
    return _typical(costs) if costs else None


def _typical(costs: Sequence[Cost]) -> Cost:
    """The run of median cost; the newest where they cannot be compared."""
    comparable = len({cost.unit for cost in costs}) == 1 and costs[0].amount is not None
    if not comparable:
        return costs[-1]
    return sorted(costs, key=lambda cost: cost.amount or 0.0)[len(costs) // 2]


def _label(group: Group) -> str:
    return _known_labels().get(group.configuration.platform, group.newest.platform.label)


@cache
def _known_labels() -> dict[str, str]:
    """The labels of `conf/platform/`, which no record can change."""
    import yaml

    from mnist_gpu.paths import conf_dir

    found = {}
    for path in sorted((conf_dir() / "platform").glob("*.yaml")):
        entry = yaml.safe_load(path.read_text(encoding="utf-8"))
        if isinstance(entry, dict) and entry.get("name") and entry["name"] != "auto":
            found[str(entry["name"])] = str(entry["label"])
    return found
