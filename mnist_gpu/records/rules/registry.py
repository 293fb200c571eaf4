"""The rules for one record, by the name under which `records/data/rules.yaml` describes them."""

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from math import isclose
from typing import Any

from mnist_gpu.fields import Part
from mnist_gpu.records.rules.safety import dates, unsafe
from mnist_gpu.records.schema import Record

Finding = tuple[str, str]
"""The field and the reason."""
Rule = Callable[[Record], Iterable[Finding]]
RULES: dict[str, Rule] = {}


def rule(function: Rule) -> Rule:
    """Register a rule: it gives (field, reason) for whatever breaks it."""
    RULES[function.__name__] = function
    return function


def check_record(record: Record, now: datetime) -> list[tuple[str, str, str]]:
    """Every (rule, field, reason) that speaks against `record`; empty for an acceptable one.

    Args:
        record: of the right schema.
        now: the present, with a time zone.
    """
    # with what is not safe the other rules could not calculate
    if found := list(unsafe(record)):
        return found
    for name, function in RULES.items():
        found += [(name, field, reason) for field, reason in function(record)]
    return found + [("not_in_the_future", *finding) for finding in dates(record, now)]


def first(record: Record, field: str, broken: Sequence[bool], why: str) -> Iterator[Finding]:
    """The first epoch that breaks a rule; `broken` says of each whether it does."""
    if True in broken:
        position = broken.index(True)
        value = getattr(record.epochs[position], field)
        yield f"epochs.{position}.{field}", f"is {value}: {why}"


def exceeding(
    part: Part, prefix: str, limits: Mapping[str, float], why: str = "more than any machine has"
) -> Iterator[Finding]:
    """What of a part of a record is over its limit."""
    for field, most in limits.items():
        value = getattr(part, field)
        if value is not None and value > most:
            yield f"{prefix}.{field}", f"is {value}, {why} ({most:g})"


def unequal(
    stated: Iterable[tuple[str, Any, Any]],
    source: str,
    differ: Callable[[Any, Any], bool] = operator.ne,
) -> Iterator[Finding]:
    """Whatever is not what something else says.

    Args:
        stated: (field, what the record says, what is worked out) of each.
        source: who says otherwise, as in "the phases give".
        differ: whether two values are not the same.
    """
    for field, value, computed in stated:
        if differ(value, computed):
            yield field, f"is {value}, but {source} {computed}"


def differs(
    stated: float | None, computed: float | None, relative: float = 1e-12, least: float = 1e-6
) -> bool:
    """Whether two durations in seconds differ by more than a microsecond and rounding, or only one
    is there."""
    if stated is None or computed is None:
        return stated is not computed
    return not isclose(stated, computed, rel_tol=relative, abs_tol=least)
