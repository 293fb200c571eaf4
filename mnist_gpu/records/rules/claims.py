"""Rules on what a record claims to be: protocol, workload, platform, price and label."""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any

from mnist_gpu.errors import UserError
from mnist_gpu.measure import signals
from mnist_gpu.paths import choices, shipped
from mnist_gpu.protocol.standard import deviating, protocol
from mnist_gpu.records.acceptable import hardware_name_fault, label_fault, price_faults
from mnist_gpu.records.facts import facts, limits
from mnist_gpu.records.rules.registry import Finding, rule, unequal
from mnist_gpu.records.schema import Record

EVERY_PLATFORM = ("label", "kind", "accelerator", "price", "limits")
LABELLED = ("label", "kind")
PRICED = ("amount_per_hour", "unit", "free")
LIMITED = ("session_s", "quota_s_per_week")
CHIP_LETTERS = 100  # that detection keeps
ALIKE = str.maketrans(*facts("texts")["alike"])
PAIRS: dict[str, str] = facts("texts")["alike_pairs"]
# how a line on the Trainer, its callbacks or its logger begins, and one on precision
CONFIGURED = ("trainer.", "callbacks ", "logger ", "precision ")


@cache
def known_platforms() -> dict[str, dict[str, Any]]:
    """The platforms of `conf/platform/` by name, but `auto`.

    Raises:
        UserError: a file there is none of a platform.
    """
    found = {name: shipped(f"platform/{name}") for name in choices("platform") if name != "auto"}
    for name, entry in found.items():
        if missing := [key for key in EVERY_PLATFORM if key not in entry]:
            raise UserError(f"conf/platform/{name}.yaml: has no {', '.join(missing)}")
    return found


@rule
def deviations_declared(record: Record) -> Iterator[Finding]:
    """A run is standard exactly where nothing deviates; each deviation is declared, and no more."""
    work, found = record.workload, _deviating(record)
    if work.standard and (work.deviations or found):
        reason = f"is true, but the run deviates: {', '.join([*work.deviations, *found])}"
        yield "workload.standard", reason
    if work.standard:
        return
    if not work.deviations:
        yield "workload.deviations", "is empty although the run is not standard"
    declared = {line.partition(" (")[0] for line in work.deviations}
    for word, sentence in found.items():
        if (wanted := sentence.partition(" (")[0]) not in declared:
            reason = f"does not declare the deviation in {word}: {wanted!r}"
            yield "workload.deviations", reason
    words = protocol(record.protocol_version)["standard"].keys()
    for number, line in enumerate(work.deviations):
        # a list of deviations is no place for advertisement
        if line.split(" ")[0] not in words and not line.startswith(CONFIGURED):
            yield f"workload.deviations.{number}", f"{line[:60]!r} is no deviation of a run"


def _deviating(record: Record) -> dict[str, str]:
    """How this record must declare its deviations, by word, from the record's own fields."""
    known = dict(record.workload)
    known["precision"] = record.engine.precision
    # whoever trained on eight and declares one has deviated all the same
    known["devices"] = max(known["devices"], record.hardware.accelerator_count)
    return deviating(known, record.protocol_version)


@rule
def known_workload(record: Record) -> Iterator[Finding]:
    """The data set has its protocol's sizes, and the arithmetic fits the parameters."""
    work, rules = record.workload, protocol(record.protocol_version)
    wanted = {} if work.dataset == "custom" else dict(rules["sizes"])
    if work.dataset == "mnist":
        wanted["dataset_sha256"] = rules["mnist_sha256"]
    stated = [(f"workload.{field}", getattr(work, field), value) for field, value in wanted.items()]
    yield from unequal(stated, f"{work.dataset} has")
    # every weight is used at least once a pass, in two passes, in a multiply and an add
    if work.flops_per_sample < 3.5 * work.n_parameters or work.n_parameters == 0:
        yield "workload.flops_per_sample", f"is too little for {work.n_parameters} parameters"
    if work.n_train == 0 or work.n_test == 0:
        yield "workload.n_train", "an empty data set trains nothing"


@rule
def platform_claim(record: Record) -> Iterator[Finding]:
    """The platform is the one asked for, or the one found where `auto` was asked for."""
    platform = record.platform
    if platform.claimed not in (platform.name, "auto"):
        yield "platform.claimed", f"is {platform.claimed}, but the record is of {platform.name}"


@rule
def price_consistent(record: Record) -> Iterator[Finding]:
    """A price has amount, unit, source and date, and where there is none a reason; a limit has its
    source and date."""
    yield from ((f"price.{field}", why) for field, why in price_faults(record.price))
    if any(getattr(record.limits, name) is not None for name in LIMITED):
        for field in ("source", "as_of"):
            if not getattr(record.limits, field):
                yield f"limits.{field}", "is missing although there is a limit"


@rule
def platform_facts(record: Record) -> Iterator[Finding]:
    """Label, kind, price and limits of a platform in conf/platform are those that stand there."""
    yield from unlike_the_known(record.platform, record.price, record.limits)


def unlike_the_known(platform: Any, price: Any, stated_limits: Any) -> Iterator[Finding]:
    """Where a platform that goes by the name of one in conf/platform is not that.

    Args:
        platform: of a record, or of a configuration.
        price: likewise.
        stated_limits: likewise.
    """
    known = known_platforms().get(platform.name)
    if known is None:
        return
    stated = [(f"platform.{name}", getattr(platform, name), known[name]) for name in LABELLED]
    # what has changed since has another date
    if stated_limits.as_of == known["limits"].get("as_of"):
        stated += [
            (f"limits.{name}", getattr(stated_limits, name), known["limits"].get(name))
            for name in LIMITED
        ]
    # whoever owns the machine names their own price
    if known["kind"] != "local" and platform.name not in limits().own_prices:
        stated += _prices(price, known["price"])
    yield from unequal(stated, f"conf/platform/{platform.name}.yaml says")


def _prices(price: Any, known: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """(field, what is stated, what is known) of a price: one of another date may have another
    amount, of the same order and in the same unit."""
    usual, times = known["amount_per_hour"], limits().price_changes
    aliases = facts("conversions")["aliases"]
    stated = {name: getattr(price, name) for name in PRICED}
    stated["unit"] = aliases.get(price.unit, price.unit)
    if price.as_of is not None and price.as_of != known.get("as_of"):
        amount = stated.pop("amount_per_hour") or 0.0
        if usual is None:
            stated["amount_per_hour"] = amount or None
        elif not usual / times <= amount <= usual * times:
            changed = f"{usual}, and no price becomes {times:g} times as much or as little"
            yield "price.amount_per_hour", amount, changed
    yield from ((f"price.{name}", value, known.get(name)) for name, value in stated.items())


@rule
def platform_verified(record: Record) -> Iterator[Finding]:
    """`verified` and `detected` are worked out again from the signals that the record holds."""
    platform, hardware = record.platform, record.hardware
    found = signals.from_signals(platform.signals)
    names = {*signals.FRONTENDS, *signals.HOSTS}
    if found.name != platform.detected and (found.name != "none" or platform.detected in names):
        yield "platform.detected", f"is {platform.detected}, but the signals say {found.name}"
    known = known_platforms().get(platform.name)
    if known is not None and platform.verified:
        said = signals.matches(known.get("detect"), found, hardware.accelerator_name)
        if not said:
            reason = f"is true, but nothing in platform.signals says {platform.name}"
            yield "platform.verified", reason
    if found.chip:
        yield from _chip(record, found.chip, (known or {}).get("detect") or {})


def _chip(record: Record, chip: str, detect: dict[str, str]) -> Iterator[Finding]:
    """A Mac's processor is asked for of macOS, once for the signal and once for the hardware."""
    field, model = "platform.signals.chip", record.hardware.cpu_model or "unknown"
    if chip != model[:CHIP_LETTERS]:
        yield field, f"is {chip}, but hardware.cpu_model is {model}"
    if not record.software.os.startswith("macOS"):
        yield field, f"is there, but software.os is {record.software.os}, which knows no such thing"
    if record.platform.verified and detect.get("frontend") in ("kaggle", "colab"):
        yield field, f"is {chip}, but {record.platform.name} has no Macs"


@rule
def label_readable(record: Record) -> Iterator[Finding]:
    """A platform's label is 3 to 60 printable characters and looks like no other's; hardware has
    short Latin names."""
    if fault := label_fault(record.platform.label):
        yield "platform.label", fault
    yield from looks_like_another(record.platform.name, record.platform.label)
    for field in ("cpu_model", "accelerator_name"):
        if fault := hardware_name_fault(getattr(record.hardware, field) or ""):
            yield f"hardware.{field}", fault


def looks_like_another(name: str, label: str) -> Iterator[Finding]:
    """What a hurried reader would take for a platform that is there, or for a row of the table."""
    if name in known_platforms():
        return
    if (other := _lookalikes("label").get(skeleton(label))) is not None:
        yield "platform.label", f"{label!r} looks like the label of {other}"
    if (other := _lookalikes("name").get(skeleton(name))) is not None:
        yield "platform.name", f"{name!r} looks like {other}"


@cache
def _lookalikes(of: str) -> dict[str, str]:
    """What is taken, as a hurried reader sees it: labels, or names."""
    if of == "name":
        return {skeleton(name): name for name in known_platforms()}
    labels = {skeleton(entry["label"]): name for name, entry in known_platforms().items()}
    return labels | {skeleton(row["label"]): row["label"] for row in facts("rows")}


@lru_cache(maxsize=8192)
def skeleton(text: str) -> str:
    """What is left of a text if only what a hurried reader sees counts."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    plain = "".join(char for char in plain if not unicodedata.combining(char))
    squeezed = re.sub(r"[\W_]+", "", plain.translate(ALIKE))
    for pair, one in PAIRS.items():
        squeezed = squeezed.replace(pair, one)
    return squeezed
