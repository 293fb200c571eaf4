"""Rules on texts, numbers and dates as such: nothing in a record may act on whoever reads it."""

from collections.abc import Iterator, Sized
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from mnist_gpu.records.acceptable import date_fault, markup_in, private_part_of
from mnist_gpu.records.facts import facts, limits
from mnist_gpu.records.run import column
from mnist_gpu.records.schema import Record

Broken = tuple[str, str, str]
"""The rule, the field and the reason."""
LIMIT = limits()
KEPT = set(facts("texts")["kept"])
# names of the project's own making, from which a page makes keys
NAMES = {"run_id", "platform.name", "engine.name", "workload.model"}
# the others are shares
OF_EPOCHS = ("epoch", "train_s", "eval_s", "data_wait_s", "train_loss", "test_loss")
# another text in each record, of which the schema lets through digits and letters of a kind
BOUND = {"created_at", "result.weights_sha256"}
RATES = {"result.flops_per_s", "result.images_per_s"}
EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)


def unsafe(record: Record) -> Iterator[Broken]:
    """What could act on a reader, point at somebody, or be another number to another reader."""
    most, fastest = LIMIT.largest, LIMIT.largest_rate
    for field, value in _leaves("", {**record.__dict__, "epochs": []}, []):
        if isinstance(value, str):
            for rule, why in _faults(value):
                if rule != "harmless_keys" or field in NAMES or field.endswith("(a key)"):
                    yield rule, field, why
        elif isinstance(value, (dict, list)):
            yield from _size(field, value, LIMIT.entries)
        # free-form parts may hold what no field allows
        elif not -most <= value <= most and not (field in RATES and 0 <= value <= fastest):
            yield "safe_numbers", field, "is not a finite number of at most 2**53"
    yield from _size("epochs", record.epochs, LIMIT.epochs)
    for field in OF_EPOCHS:
        numbers = column(record, field)
        if field == "data_wait_s":
            numbers = [number for number in numbers if number is not None]
        if numbers and not -most <= min(numbers) <= max(numbers) <= most:
            yield "safe_numbers", f"epochs.*.{field}", "holds a number that is not of at most 2**53"


def _leaves(
    prefix: str, part: dict[Any, Any], found: list[tuple[str, Any]]
) -> list[tuple[str, Any]]:
    """(dotted field, value) of every text, number, list, mapping and key in `part`, however deep,
    added to `found`."""
    for name, value in part.items():
        if value is None or value is True or value is False:
            continue
        field = f"{prefix}{name}"
        if isinstance(value, (str, float, int)):
            if field not in BOUND:
                found.append((field, value))
        elif isinstance(value, dict):
            found.append((field, value))
            found.extend([(f"{field} (a key)", key) for key in value])
            _leaves(f"{field}.", value, found)
        elif isinstance(value, list):
            found.append((field, value))
            _leaves(f"{field}.", dict(enumerate(value)), found)
        else:  # a part of the schema; to ask pydantic whether it is one takes long
            _leaves(f"{field}.", value.__dict__, found)
    return found


@lru_cache(maxsize=8192)
def _faults(text: str) -> list[tuple[str, str]]:
    """The (rule, reason) against a text; the records of many runs hold the same ones."""
    kept = text.lower() in KEPT or text.startswith("__")
    found = {
        "plain_text": markup_in(text),
        "no_private_text": private_part_of(text),
        "harmless_keys": f"{text!r} is a name that programs keep for themselves" if kept else None,
    }
    return [(rule, why) for rule, why in found.items() if why]


def _size(field: str, entries: Sized, most: int) -> Iterator[Broken]:
    if len(entries) > most:
        yield "short_lists", field, f"has {len(entries)} entries, more than {most}"


def dates(record: Record, now: datetime) -> Iterator[tuple[str, str]]:
    """Dates are of the calendar, and past."""
    try:
        created = datetime.fromisoformat(record.created_at)
    except ValueError:
        yield "created_at", f"{record.created_at} is no date of the calendar"
    else:
        if created > now + timedelta(seconds=LIMIT.clock_skew_s):
            yield "created_at", f"{record.created_at} lies in the future"
        if created < EARLIEST:
            yield "created_at", f"{record.created_at} is older than this project"
    for field, day in (("price", record.price.as_of), ("limits", record.limits.as_of)):
        if day is not None and (why := date_fault(day, now)):
            yield f"{field}.as_of", why
