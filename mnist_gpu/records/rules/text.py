"""Rules on texts and numbers as such: nothing in a record may act on whoever reads it."""

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from mnist_gpu.records.rules.registry import Finding, Subject, safety_rule

# Cc control, Cf invisible and bidirectional, Co private use, Cs surrogate, Cn unassigned,
# Zl and Zp line and paragraph separators
REFUSED_CATEGORIES = {"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"}
MARKUP = re.compile(r"[<>`]|&#|&\w+;|\$[({]|\]\(|\{\{|\}\}|(?:javascript|vbscript|data)\s*:", re.I)
PRIVATE = re.compile(
    r"(?:^|[\s\"'=(:,])(?:/(?:home|users|root|etc|var|tmp|mnt|opt|private|work)/|[a-z]:\\|~/|\\\\\w)"
    r"|\.\./|file:|[\w.+-]+@[\w-]+\.\w",
    re.I,
)
WHOLE_PRIVATE = re.compile(rf"(?:{PRIVATE.pattern})[^\s\"']*", re.I)
LONGEST = 300
MOST_ENTRIES = 1000
LARGEST = 2**53
LARGEST_RATE = 1e18
RATES = {"result.flops_per_s", "result.images_per_s"}


def harmless(text: str) -> str:
    """`text` without what these rules refuse, at most 300 characters: to be put into a record."""
    text = text.replace(str(Path.home()), "~")
    text = "".join(" " if unicodedata.category(c) in REFUSED_CATEGORIES else c for c in text)
    text = MARKUP.sub("?", text)
    while PRIVATE.search(text):
        text = WHOLE_PRIVATE.sub(" ...", text)
    return " ".join(text.split())[:LONGEST] or "no reason given"


@safety_rule
def plain_text(subject: Subject) -> Iterator[Finding]:
    """See rules.yaml."""
    for field, text in subject.texts:
        odd = None
        if not text.isascii():
            odd = next((c for c in text if unicodedata.category(c) in REFUSED_CATEGORIES), None)
        elif not text.isprintable():
            odd = next(c for c in text if not c.isprintable())
        if odd is not None:
            yield field, f"holds the character U+{ord(odd):04X}, which acts on a reader"
        elif found := MARKUP.search(text):
            yield field, f"holds markup or script syntax ({found.group()!r})"


@safety_rule
def no_private_text(subject: Subject) -> Iterator[Finding]:
    """See rules.yaml."""
    for field, text in subject.texts:
        if ("/" in text or "\\" in text or "@" in text or ":" in text) and PRIVATE.search(text):
            yield field, "holds a path or an address; leave out what points at a person or a disk"


@safety_rule
def safe_numbers(subject: Subject) -> Iterator[Finding]:
    """See rules.yaml."""
    for field, number in subject.numbers:
        # free-form parts may hold what no field allows
        if not -LARGEST <= number <= (LARGEST_RATE if field in RATES else LARGEST):
            yield field, "is not a finite number of at most 2**53"
    rows = subject.record.epochs
    for field in ("epoch", "train_s", "eval_s", "train_loss", "test_loss"):
        column = [getattr(row, field) for row in rows]
        if column and not -LARGEST <= min(column) <= max(column) <= LARGEST:
            yield f"epochs.*.{field}", "holds a number that is not of at most 2**53"


@safety_rule
def short_lists(subject: Subject) -> Iterator[Finding]:
    """See rules.yaml."""
    record = subject.record
    sizes = {
        "epochs": len(record.epochs),
        "workload.deviations": len(record.workload.deviations),
        "resources.warnings": len(record.resources.warnings),
        "software.packages": len(record.software.packages),
        "platform.signals": len(record.platform.signals),
        "engine.switches": len(record.engine.switches),
        "engine.environment": len(record.engine.environment),
        "engine.kernels": len(record.engine.kernels),
        "engine.deviations_from_defaults": len(record.engine.deviations_from_defaults),
        "hardware.reasons": len(record.hardware.reasons),
        "resources.reasons": len(record.resources.reasons),
    }
    for field, size in sizes.items():
        if size > MOST_ENTRIES:
            yield field, f"has {size} entries, more than {MOST_ENTRIES}"
