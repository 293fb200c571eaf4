"""The accuracy gate: a fast run counts only if it trained what the reference trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from mnist_gpu.protocol.standard import protocol
from mnist_gpu.report.groups import Group
from mnist_gpu.report.statistics import (
    ENOUGH_FOR_A_TEST,
    SIGNIFICANT,
    equivalence_p,
    scipy_is_there,
)

GATED = ("standard", "unverified", "resumed")


@dataclass(frozen=True)
class Gate:
    """Whether a row's accuracy is that of the reference.

    Attributes:
        passed: None where there is no reference, or nothing to compare.
        difference_points: percentage points above the reference.
        basis: how it was judged, for people.
    """

    passed: bool | None
    difference_points: float | None
    basis: str


def reference_group(groups: Sequence[Group]) -> Group | None:
    """Whose accuracy counts: the first named engine and platform, preferably with three runs."""
    wanted = protocol()["reference"]
    candidates = [
        group
        for group in groups
        if group.category == "standard"
        and group.configuration.engine in wanted["engines"]
        and group.configuration.precision == wanted["precision"]
    ]
    return min(
        candidates,
        key=lambda group: (
            len(group.runs) < ENOUGH_FOR_A_TEST,
            wanted["engines"].index(group.configuration.engine),
            group.configuration.platform not in wanted["platforms"],
            -len(group.runs),
        ),
        default=None,
    )


def gates(groups: Sequence[Group]) -> dict[str, Gate]:
    """The gate of every group, by its ref."""
    reference = reference_group(groups)
    if reference is None:
        return {group.ref: Gate(None, None, "no reference runs yet") for group in groups}
    margin = protocol()["accuracy_margin_points"] / 100
    testable = [
        group
        for group in groups
        if group.category in GATED and group is not reference and _enough(group, reference)
    ]
    tested = (
        equivalence_p([group.accuracy for group in testable], reference.accuracy, margin)
        if testable
        else []
    )
    p_of = {group.ref: p for group, p in zip(testable, tested, strict=True)}
    return {group.ref: _gate(group, reference, margin, p_of.get(group.ref)) for group in groups}


def _enough(group: Group, reference: Group) -> bool:
    return scipy_is_there() and min(len(group.runs), len(reference.runs)) >= ENOUGH_FOR_A_TEST


def _gate(group: Group, reference: Group, margin: float, p: float | None) -> Gate:
    if group is reference:
        return Gate(True, 0.0, f"the reference (n = {len(group.runs)})")
    if group.category not in GATED:
        return Gate(None, None, "another workload than the reference's")
    difference = fmean(group.accuracy) - fmean(reference.accuracy)
    against = f"{difference * 100:+.2f} points against {reference.ref} (n = {len(reference.runs)})"
    if p is not None:
        said = f"TOST p = {p:.2g}" if p >= 0.001 else "TOST p < 0.001"
        return Gate(p < SIGNIFICANT, difference * 100, f"{against}, {said}")
    basis = f"{against}; n = {len(group.runs)}: too few for an equivalence test"
    return Gate(abs(difference) <= margin, difference * 100, basis)
