"""What a text and a price in a record may be.

Rules ask it of the records of strangers, and the configuration of what a user is about to write
into one, before anything is trained.
"""

import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from mnist_gpu.records.facts import facts, limits

TEXTS = facts("texts")
REFUSED_CATEGORIES = set(TEXTS["refused_categories"])
MARKUP = re.compile(TEXTS["markup"], re.I)
PRIVATE = {re.compile(entry["pattern"], re.I): entry["why"] for entry in TEXTS["private"]}
WHOLE_PRIVATE = [re.compile(rf"(?:{part.pattern})[^\s\"']*", re.I) for part in PRIVATE]
LONGEST = 300
HIGHEST_PRICE_PER_HOUR: float = limits().highest_price_per_hour
UNIT = re.compile(r"[A-Za-z$][A-Za-z0-9 $/-]{0,19}")


def markup_in(text: str) -> str | None:
    """Why `text` could act on whoever reads it; None where it could not."""
    odd = next((c for c in text if unicodedata.category(c) in REFUSED_CATEGORIES), None)
    if odd is not None:
        return f"holds the character U+{ord(odd):04X}, which acts on a reader"
    if found := MARKUP.search(text):
        return f"holds markup or script syntax ({found.group()!r})"
    return None


def private_part_of(text: str) -> str | None:
    """Why `text` could point at a person, a machine or a disk; None where it could not."""
    return next((why for part, why in PRIVATE.items() if part.search(text)), None)


def harmless(text: str) -> str:
    """`text` as a record may hold it: nothing that acts on a reader, no path, 300 characters."""
    text = text.replace(str(Path.home()), "~")
    text = "".join(" " if unicodedata.category(c) in REFUSED_CATEGORIES else c for c in text)
    text = MARKUP.sub("?", text)
    while private_part_of(text):
        for whole in WHOLE_PRIVATE:
            text = whole.sub(" ...", text)
    return " ".join(text.split())[:LONGEST] or "no reason given"


def label_fault(label: str) -> str | None:
    """Why `label` cannot stand in a table as a platform's name; None where it can."""
    shortest, longest = limits().label_columns
    columns = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in label)
    if not shortest <= columns <= longest or label != label.strip():
        return f"has {columns} columns; {shortest} to {longest} fit"
    if label.casefold() in TEXTS["not_a_label"] or sum(char.isalnum() for char in label) < 2:
        return f"{label!r} names no platform"
    if re.search(TEXTS["link"], label, re.I):
        return "holds what a page would make a link of"
    if any(unicodedata.bidirectional(char) in ("R", "AL", "AN") for char in label):
        return "is written from right to left"
    return None


def price_faults(price: Any) -> Iterator[tuple[str, str]]:
    """(field, reason) for whatever does not fit together in a price.

    Args:
        price: a record's `Price`, or anything else with its fields.
    """
    if price.amount_per_hour is None:
        if not price.reason:
            yield "reason", "is missing although there is no amount"
        return
    for field in ("unit", "source", "as_of"):
        if not getattr(price, field):
            yield field, "is missing although there is an amount"
    if price.amount_per_hour > HIGHEST_PRICE_PER_HOUR:
        yield "amount_per_hour", f"is over {HIGHEST_PRICE_PER_HOUR}"
    if price.free and price.amount_per_hour and price.unit not in ("SU", "CU"):
        yield "free", "is true beside an amount"
    if price.amount_per_hour < limits().lowest_price_per_hour:
        yield "amount_per_hour", "is next to nothing; what is free has no amount, and free: true"
    if price.unit and not UNIT.fullmatch(price.unit):
        yield "unit", f"{price.unit!r} is no unit"
    if price.source and "://" in price.source and not price.source.startswith("https://"):
        yield "source", "is a link, but not to an https page"


def date_fault(text: str, now: datetime | None = None) -> str | None:
    """Why `text` is no date (`2026-01-31`) up to today; None where it is one."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return f"{text} is no date of the calendar"
    # a day's grace: it may be tomorrow already where the record was made
    if day > ((now or datetime.now(UTC)) + timedelta(days=1)).date():
        return f"{text} lies in the future"
    return None
