"""Rules on texts and numbers as such: nothing in a record may act on whoever reads it."""

import re
import unicodedata
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from mnist_gpu.results.checks.registry import Finding, rule
from mnist_gpu.results.record import Record

# Cc control, Cf invisible and bidirectional, Co private use, Cs surrogate, Cn unassigned,
# Zl and Zp line and paragraph separators
REFUSED_CATEGORIES = {"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"}
MARKUP = re.compile(r"[<>`]|&#|&\w+;|\$[({]|\]\(|\{\{|\}\}|(?:javascript|vbscript|data)\s*:", re.I)
PRIVATE = re.compile(
    r"(?:^|[\s\"'=(:,])(?:/(?:home|users|root|etc|var|tmp|mnt|opt|private|work)/|[a-z]:\\|~/|\\\\\w)"
    r"|\.\./|file:|[\w.+-]+@[\w-]+\.\w",
    re.I,
)
MOST_ENTRIES = 1000
LARGEST = 2**53
LARGEST_RATE = 1e18
RATES = {"result.flops_per_s", "result.images_per_s"}


@rule
def plain_text(record: Record, now: datetime) -> Iterator[Finding]:
    """See rules.yaml."""
    for field, text in _leaves(record, str):
        odd = None
        if not text.isascii():
            odd = next((c for c in text if unicodedata.category(c) in REFUSED_CATEGORIES), None)
        elif not text.isprintable():
            odd = next(c for c in text if not c.isprintable())
        if odd is not None:
            yield field, f"holds the character U+{ord(odd):04X}, which acts on a reader"
        elif found := MARKUP.search(text):
            yield field, f"holds markup or script syntax ({found.group()!r})"


@rule
def no_private_text(record: Record, now: datetime) -> Iterator[Finding]:
    """See rules.yaml."""
    for field, text in _leaves(record, str):
        if ("/" in text or "\\" in text or "@" in text or ":" in text) and PRIVATE.search(text):
            yield field, "holds a path or an address; leave out what points at a person or a disk"


@rule
def safe_numbers(record: Record, now: datetime) -> Iterator[Finding]:
    """See rules.yaml."""
    for field, number in _leaves(record, (int, float)):
        # free-form parts may hold what no field allows
        if not -LARGEST <= number <= (LARGEST_RATE if field in RATES else LARGEST):
            yield field, "is not a finite number of at most 2**53"
    for position, row in enumerate(record.epochs):
        numbers = (row.epoch, row.train_s, row.eval_s, row.train_loss, row.test_loss)
        if not (max(numbers) <= LARGEST and min(numbers) >= -LARGEST):
            yield f"epochs.{position}", "holds a number that is not of at most 2**53"


@rule
def short_lists(record: Record, now: datetime) -> Iterator[Finding]:
    """See rules.yaml."""
    sizes = {
        "epochs": len(record.epochs),
        "workload.deviations": len(record.workload.deviations),
        "resources.warnings": len(record.resources.warnings),
        "software.packages": len(record.software.packages),
        "platform.signals": len(record.platform.signals),
        "engine.tuning": len(record.engine.tuning),
        "hardware.reasons": len(record.hardware.reasons),
        "resources.reasons": len(record.resources.reasons),
    }
    for field, size in sizes.items():
        if size > MOST_ENTRIES:
            yield field, f"has {size} entries, more than {MOST_ENTRIES}"


def _leaves(record: Record, kind: Any) -> Iterator[tuple[str, Any]]:
    """(dotted field, value) of every value of a kind outside the epochs, which hold numbers alone.

    The keys of mappings are among the texts.
    """
    stack: list[tuple[str, Any]] = [
        (name, getattr(record, name)) for name in type(record).model_fields if name != "epochs"
    ]
    while stack:
        field, value = stack.pop()
        if isinstance(value, (str, int, float)):
            if isinstance(value, kind) and not isinstance(value, bool):
                yield field, value
        elif isinstance(value, (list, tuple)):
            stack.extend([(f"{field}.{number}", entry) for number, entry in enumerate(value)])
        elif isinstance(value, dict):
            for key, entry in value.items():
                if kind is str:
                    yield f"{field} (a key)", str(key)
                stack.append((f"{field}.{key}", entry))
        elif value is not None:
            stack.extend([(f"{field}.{name}", entry) for name, entry in value.__dict__.items()])
