"""The accuracy gate: a fast run counts only if it trained what the reference trained.

Three outcomes. A row `passes` when its accuracy is shown equivalent to the reference's; with three
runs or more it is else `not shown equivalent`; with fewer, or beside no reference, `not judged`.
Fewer runs never pass more easily: equivalence has to be shown, and takes runs to be shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from mnist_gpu.protocol.standard import protocol
from mnist_gpu.records.facts import facts
from mnist_gpu.report.groups import Group
from mnist_gpu.report.statistics import ENOUGH, equivalence_p

GATED = ("standard", "unverified", "resumed")
PASSES, NOT_SHOWN, NOT_JUDGED = "passes", "not shown equivalent", "not judged"
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Gate:
    """Whether a row's accuracy is that of the reference.

    Attributes:
        outcome: `passes`, `not shown equivalent` or `not judged`.
        basis: how it was judged, for people.
    """

    outcome: str
    basis: str

    @property
    def failed(self) -> bool:
        """Whether enough runs did not show what they should."""
        return self.outcome == NOT_SHOWN


def pinned() -> dict[str, float]:
    """run_id -> test accuracy of the reference runs, from the reviewed file."""
    return dict(facts("reference")["runs"] or {})


def gate(group: Group, reference: Mapping[str, float]) -> Gate:
    """Judge one group beside the reference runs (run_id -> test accuracy)."""
    if group.key.category not in GATED:
        return Gate(NOT_JUDGED, "another workload than the reference's")
    if len(reference) < ENOUGH:
        return Gate(NOT_JUDGED, "no reference runs are pinned yet")
    if any(run.record.run_id in reference for run in group.runs):
        return Gate(PASSES, f"its own reference (n = {len(reference)})")
    if len(group.runs) < ENOUGH:
        return Gate(NOT_JUDGED, f"n = {len(group.runs)}, and it takes {ENOUGH}")
    margin = protocol()["accuracy_margin_points"] / 100
    accuracies: Sequence[float] = list(reference.values())
    p = equivalence_p(group.accuracy, accuracies, margin)
    difference = 100 * (fmean(group.accuracy) - fmean(accuracies))
    said = f"TOST p = {p:.2g}" if p >= 0.001 else "TOST p < 0.001"
    basis = f"{difference:+.2f} points against the reference (n = {len(reference)}), {said}"
    return Gate(PASSES if p < SIGNIFICANT else NOT_SHOWN, basis)
