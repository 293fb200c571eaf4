"""Everything the table, the page and the findings say, worked out once from the runs."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from mnist_gpu.protocol.standard import protocol
from mnist_gpu.records.run import Run
from mnist_gpu.report.cost import Cost, cost_to, run_cost
from mnist_gpu.report.doubts import doubts, notes, run_doubts
from mnist_gpu.report.findings import Finding, find
from mnist_gpu.report.gate import gate, pinned
from mnist_gpu.report.groups import Group, group_runs
from mnist_gpu.report.platforms import label
from mnist_gpu.report.published import NOTHING_PUBLISHED, Published
from mnist_gpu.report.rows import Reached, Row
from mnist_gpu.report.scaling import Scaling, scaling
from mnist_gpu.report.statistics import Sample, time_to


@dataclass(frozen=True)
class Summary:
    """The whole report.

    Attributes:
        rows: those of the standard first, then the fastest first.
        findings: sentences with links to rows.
        runs: every accepted run, completed or not.
        unfinished: how many runs ended in which way but `completed`.
        scaling: rows on several devices beside those on one.
        published: what others report, never among the rows.
    """

    rows: list[Row]
    findings: list[Finding]
    runs: list[Run]
    unfinished: dict[str, int]
    scaling: list[Scaling]
    published: Published


def summarise(
    runs: Sequence[Run],
    given_doubts: Mapping[str, Sequence[str]] | None = None,
    reference: Mapping[str, float] | None = None,
    published: Published = NOTHING_PUBLISHED,
) -> Summary:
    """Group the runs and work out what each group says.

    Args:
        runs: accepted ones, completed or not.
        given_doubts: run_id -> lines, from whoever judged the records.
        reference: run_id -> test accuracy of the gate's reference, by default the pinned one.
        published: what others report.
    """
    reference = pinned() if reference is None else reference
    of_run = run_doubts(runs, given_doubts or {})
    rows = []
    for group in group_runs(runs):
        train_s, costs = Sample(tuple(group.train_s)), [run_cost(run) for run in group.runs]
        rows.append(
            Row(
                group=group,
                label=label(group.newest.platform),
                train_s=train_s,
                total_s=Sample(tuple(group.total_s)),
                accuracy=Sample(tuple(group.accuracy)),
                gate=gate(group, reference),
                cost=_typical(costs),
                cost_to_99=_cost_to_99(group),
                reached=_reached(group),
                doubts=tuple(doubts(group, of_run)),
                notes=(*notes(group, train_s), *published.notes(group)),
            )
        )
    unfinished = Counter(str(run.record.status) for run in runs)
    del unfinished["completed"]
    _mark_fronts(rows)
    return Summary(rows, find(rows), list(runs), dict(unfinished), scaling(rows), published)


def _mark_fronts(rows: Sequence[Row]) -> None:
    """Mark the rows that none beats in both time (or dollars) and accuracy."""
    judged = [row for row in rows if row.category == "standard" and not row.gate.failed]
    for row in _front(judged, lambda row: row.train_s.median):
        row.fronts.add("time")
    priced = [row for row in judged if row.cost.usd is not None]
    for row in _front(priced, lambda row: row.cost.usd or 0.0):
        row.fronts.add("cost")


def _front(rows: Sequence[Row], spent: Callable[[Row], float]) -> list[Row]:
    found: list[Row] = []
    for row in sorted(rows, key=lambda row: (spent(row), -row.accuracy.median)):
        if not found or row.accuracy.median > found[-1].accuracy.median + 1e-9:
            found.append(row)
    return found


def _reached(group: Group) -> dict[float, Reached]:
    found = {}
    for target in protocol()["targets"]:
        times = [time_to(run, target) for run in group.runs]
        typical = median(math.inf if time is None else time for time in times)
        got_there = len(times) - times.count(None)
        train_s = typical if math.isfinite(typical) else None
        found[target] = Reached(train_s, got_there, len(times))
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
