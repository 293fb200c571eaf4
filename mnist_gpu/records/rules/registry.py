"""The rules for one record, by the name under which `records/data/rules.yaml` describes them."""

from collections.abc import Callable, Iterable, Iterator, Set
from datetime import datetime
from functools import cached_property
from typing import Any

from mnist_gpu.records.schema import Record

Finding = tuple[str, str]
TOLERANCE_S = 1e-6


class Subject:
    """The record under judgement.

    Attributes:
        record: of the right schema.
        now: the present, with a time zone.
    """

    def __init__(self, record: Record, now: datetime) -> None:
        self.record = record
        self.now = now

    @property
    def texts(self) -> list[tuple[str, str]]:
        """(dotted field, text) of every text, the keys of mappings among them."""
        return self._leaves[0]

    @property
    def numbers(self) -> list[tuple[str, float]]:
        """(dotted field, number) of every number outside the epochs."""
        return self._leaves[1]

    @property
    def sizes(self) -> list[tuple[str, int]]:
        """(dotted field, entries) of every list and mapping, however deep."""
        return self._leaves[2]

    @cached_property
    def _leaves(
        self,
    ) -> tuple[list[tuple[str, str]], list[tuple[str, float]], list[tuple[str, int]]]:
        texts: list[tuple[str, str]] = []
        numbers: list[tuple[str, float]] = []
        sizes = [("epochs", len(self.record.epochs))]
        # the epochs hold numbers alone, which the schema has seen
        parts = [item for item in self.record.__dict__.items() if item[0] != "epochs"]
        stack: list[tuple[str, Iterable[tuple[Any, Any]]]] = [("", parts)]
        while stack:
            prefix, entries = stack.pop()
            for name, value in entries:
                if value is None or value is True or value is False:
                    continue
                field = f"{prefix}{name}"
                if isinstance(value, str):
                    texts.append((field, value))
                elif isinstance(value, (int, float)):
                    numbers.append((field, value))
                elif isinstance(value, dict):
                    sizes.append((field, len(value)))
                    texts.extend([(f"{field} (a key)", str(key)) for key in value])
                    stack.append((f"{field}.", value.items()))
                elif isinstance(value, (list, tuple)):
                    sizes.append((field, len(value)))
                    stack.append((f"{field}.", enumerate(value)))
                else:
                    stack.append((f"{field}.", value.__dict__.items()))
        return texts, numbers, sizes


Rule = Callable[[Subject], Iterator[Finding]]
RULES: dict[str, Rule] = {}
SAFETY_RULES: set[str] = set()


def rule(function: Rule) -> Rule:
    """Register a rule: a generator of (field, reason) for whatever breaks it."""
    RULES[function.__name__] = function
    return function


def safety_rule(function: Rule) -> Rule:
    """Register a rule without which the others could not calculate."""
    SAFETY_RULES.add(function.__name__)
    return rule(function)


def check_record(record: Record, now: datetime) -> list[tuple[str, str, str]]:
    """Every (rule, field, reason) that speaks against `record`; empty for an acceptable one.

    What breaks a safety rule is not judged by the others.

    Args:
        record: of the right schema.
        now: the present, with a time zone.
    """
    # imported for their rules
    from mnist_gpu.records.rules import (  # noqa: F401
        claims,
        measured,
        names,
        outcome,
        plausible,
        text,
        time,
    )

    subject = Subject(record, now)
    found = _broken(subject, SAFETY_RULES)
    return found or _broken(subject, RULES.keys() - SAFETY_RULES)


def _broken(subject: Subject, names: Set[str]) -> list[tuple[str, str, str]]:
    return [
        (name, field, reason)
        for name, function in RULES.items()
        if name in names
        for field, reason in function(subject)
    ]


def differs(stated: float, computed: float) -> bool:
    """Whether two durations in seconds differ by more than a microsecond and rounding."""
    return abs(stated - computed) > TOLERANCE_S + 1e-12 * abs(computed)


def differs_relatively(stated: float | None, computed: float | None) -> bool:
    """Whether two rates differ by more than a millionth, or only one of them is there."""
    if stated is None or computed is None:
        return stated is not computed
    return abs(stated - computed) > 1e-6 * abs(computed)
