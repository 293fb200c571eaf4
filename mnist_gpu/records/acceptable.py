"""What a text and a price in a record may be.

Rules ask it of the records of strangers, and the configuration of what a user is about to write
into one, before anything is trained.
"""

import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from mnist_gpu.records.facts import facts, limits

TEXTS = facts("texts")
REFUSED_CATEGORIES, INVISIBLE = set(TEXTS["refused_categories"]), set(TEXTS["invisible"])
ALIKE_SCRIPTS = set(TEXTS["alike_scripts"])
MARKUP = re.compile(TEXTS["markup"], re.I)
PRIVATE = {re.compile(entry["pattern"], re.I): entry["why"] for entry in TEXTS["private"]}
WHOLE_PRIVATE = [re.compile(rf"(?:{part.pattern})[^\s\"']*", re.I) for part in PRIVATE]
LONGEST = 300
# the reason of a price or a limit that gives none
UNSTATED = "not stated"
HIGHEST_PRICE_PER_HOUR: float = limits().highest_price_per_hour
UNIT = re.compile(r"[A-Za-z$]([A-Za-z0-9 $/-]{0,18}[A-Za-z0-9$])?")
MOST_MARKS = 2


def _acts(char: str) -> bool:
    """Whether a character does something to whoever reads it, or is not to be seen."""
    return unicodedata.category(char) in REFUSED_CATEGORIES or char in INVISIBLE


def markup_in(text: str) -> str | None:
    """Why `text` could act on whoever reads it; None where it could not."""
    # of ASCII what prints does nothing, and most texts are no more than that
    plain = text.isascii() and text.isprintable()
    odd = None if plain else next(filter(_acts, text), None)
    if odd is not None:
        return f"holds the character U+{ord(odd):04X}, which acts on a reader or is not seen"
    if found := MARKUP.search(text):
        return f"holds markup or script syntax ({found.group()!r})"
    return None


def private_part_of(text: str) -> str | None:
    """Why `text` could point at a person, a machine or a disk; None where it could not."""
    return next((why for part, why in PRIVATE.items() if part.search(text)), None)


def harmless(text: str) -> str:
    """`text` as a record may hold it: nothing that acts on a reader, no path, 300 characters."""
    # the name of a user stands in it
    text = text.replace(str(Path.home()), "~")
    text = "".join(" " if _acts(c) else c for c in text)
    text = MARKUP.sub("?", text)
    # what one pattern leaves may be what another finds
    while private_part_of(text):
        for whole in WHOLE_PRIVATE:
            text = whole.sub(" ...", text)
    return " ".join(text.split())[:LONGEST] or "no reason given"


def _mixture_in(label: str) -> str | None:
    """Why the letters of a label are not what they seem; None where they are."""
    plain = unicodedata.normalize("NFC", label)
    marks = "".join("m" if unicodedata.combining(char) else " " for char in plain)
    if "m" * (MOST_MARKS + 1) in marks:
        return f"holds a letter with more than {MOST_MARKS} marks"
    for word in re.findall(r"[^\W\d_]+", unicodedata.normalize("NFKC", label)):
        # a character's name begins with its script
        scripts = {unicodedata.name(char, "").split(" ")[0] for char in word}
        if "LATIN" in scripts and (others := ALIKE_SCRIPTS & scripts):
            return f"mixes Latin letters with {', '.join(sorted(others)).title()} ones in {word!r}"
    return None


@lru_cache(maxsize=8192)
def hardware_name_fault(name: str) -> str | None:
    """Why `name` cannot stand in a table as a processor's or accelerator's; None where it can."""
    if re.fullmatch(TEXTS["hardware_name"], name) and not re.search(TEXTS["link"], name, re.I):
        return None
    return "is no name of hardware: at most 100 Latin characters, and no link"


@lru_cache(maxsize=8192)
def label_fault(label: str) -> str | None:
    """Why `label` cannot stand in a table as a platform's name; None where it can."""
    shortest, longest = limits().label_columns
    # Chinese and Japanese letters take two
    columns = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in label)
    if not shortest <= columns <= longest or label != label.strip():
        return f"has {columns} columns; {shortest} to {longest} fit"
    if label.casefold() in TEXTS["not_a_label"] or sum(char.isalnum() for char in label) < 2:
        return f"{label!r} names no platform"
    if re.search(TEXTS["link"], label, re.I):
        return "holds what a page would make a link of"
    if any(unicodedata.bidirectional(char) in ("R", "AL", "AN") for char in label):
        return "is written from right to left"
    return _mixture_in(label)


def _unit_fault(unit: str) -> str | None:
    """Why `unit` is none, or would be taken for another; None where it is one."""
    known = facts("conversions")
    names = {*known["units"], *known["aliases"]}
    if unit in names:
        return None
    # "Usd" and "USD cents" are converted by nobody, and read as dollars by everybody
    words = {word.casefold() for word in re.split(r"[ /-]", unit)}
    if taken := sorted(name for name in names if name.casefold() in words):
        return f"{unit!r} would be taken for {taken[0]}"
    return None if UNIT.fullmatch(unit) else f"{unit!r} is no unit"


def price_faults(price: Any) -> Iterator[tuple[str, str]]:
    """(field, reason) for whatever does not fit together in a price.

    Args:
        price: a record's `Price`, or anything else with its fields.
    """
    if price.reason and len(price.reason) > limits().reason_letters:
        yield "reason", f"is longer than {limits().reason_letters} letters"
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
    if price.unit and (why := _unit_fault(price.unit)):
        yield "unit", why
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
