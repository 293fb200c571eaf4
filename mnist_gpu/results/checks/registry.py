"""The rules for one record, by the name under which `results/data/rules.yaml` describes them."""

from collections.abc import Callable, Iterator
from datetime import datetime

from mnist_gpu.results.record import Record

Finding = tuple[str, str]
Rule = Callable[[Record, datetime], Iterator[Finding]]

RULES: dict[str, Rule] = {}
TOLERANCE_S = 1e-6


def rule(function: Rule) -> Rule:
    """Register a rule: a generator of (field, reason) for whatever breaks it."""
    RULES[function.__name__] = function
    return function


def check_record(record: Record, now: datetime) -> list[tuple[str, str, str]]:
    """Every (rule, field, reason) that speaks against `record`; empty for an acceptable one.

    Args:
        record: of the right schema.
        now: the present, with a time zone.

    """
    # imported for their rules
    from mnist_gpu.results.checks import claims, outcome, plausible, text, time  # noqa: F401

    return [
        (name, field, reason)
        for name, function in RULES.items()
        for field, reason in function(record, now)
    ]


def differs(stated: float, computed: float) -> bool:
    """Whether two durations in seconds differ by more than a microsecond and rounding."""
    return abs(stated - computed) > TOLERANCE_S + 1e-12 * abs(computed)


def differs_relatively(stated: float | None, computed: float | None) -> bool:
    """Whether two rates differ by more than a millionth, or only one of them is there."""
    if stated is None or computed is None:
        return stated is not computed
    return abs(stated - computed) > 1e-6 * abs(computed)
