"""Rules on what a record claims of itself: protocol, workload, platform and price."""

import re
from collections.abc import Iterator
from typing import Any

from mnist_gpu.records.facts import facts
from mnist_gpu.records.rules.registry import Finding, Subject, rule
from mnist_gpu.records.schema import Record

HIGHEST_PRICE_PER_HOUR = 10_000
UNIT = re.compile(r"[A-Za-z$][A-Za-z0-9 $/-]{0,19}")


@rule
def deviations_declared(subject: Subject) -> Iterator[Finding]:
    """See rules.yaml."""
    record = subject.record
    workload, found = record.workload, undeclared_words(record)
    if workload.standard and workload.deviations:
        yield "workload.standard", f"is true, but {workload.deviations[0]!r} is declared"
    if workload.standard and found:
        yield "workload.standard", f"is true, but the run deviates in {', '.join(found)}"
    if not workload.standard:
        declared = " ".join(workload.deviations)
        if not workload.deviations:
            yield "workload.deviations", "is empty although the run is not standard"
        for word in found:
            if not re.search(rf"\b{re.escape(word)}\b", declared):
                yield "workload.deviations", f"does not declare the deviation in {word}"


def undeclared_words(record: Record) -> list[str]:
    """The words by which this record must declare its deviations, from the record's own fields."""
    protocol = facts("protocol")[record.protocol_version]
    found = [
        entry["declared_as"]
        for field, entry in protocol["fields"].items()
        if value_at(record, field) != entry["standard"]
    ]
    if "model" not in found and any(
        value_at(record, field) != value for field, value in protocol["model"].items()
    ):
        found.append("model")
    if record.engine.precision not in protocol["precisions"]:
        found.append("precision")
    if record.hardware.accelerator_count > protocol["most_accelerators"]:
        found.append("devices")
    return found


@rule
def known_workload(subject: Subject) -> Iterator[Finding]:
    """See rules.yaml."""
    record = subject.record
    workload, protocol = record.workload, facts("protocol")[record.protocol_version]
    if workload.dataset in ("mnist", "synthetic"):
        for field, size in protocol["sizes"].items():
            if getattr(workload, field) != size:
                yield f"workload.{field}", f"is {getattr(workload, field)}, not {size}"
    known = protocol["mnist_sha256"]
    if workload.dataset == "mnist" and known and workload.dataset_sha256 != known:
        yield "workload.dataset_sha256", "is not that of MNIST"
    # every weight is used at least once a pass, in two passes, in a multiply and an add
    if workload.flops_per_sample < 3.5 * workload.n_parameters or workload.n_parameters == 0:
        yield "workload.flops_per_sample", f"is too little for {workload.n_parameters} parameters"
    if workload.n_train == 0 or workload.n_test == 0:
        yield "workload.n_train", "an empty data set trains nothing"


@rule
def platform_claim(subject: Subject) -> Iterator[Finding]:
    """See rules.yaml."""
    record = subject.record
    platform = record.platform
    if platform.claimed not in (platform.name, "auto"):
        yield "platform.claimed", f"is {platform.claimed}, but the record is of {platform.name}"


@rule
def price_consistent(subject: Subject) -> Iterator[Finding]:
    """See rules.yaml."""
    record = subject.record
    price = record.price
    if price.amount_per_hour is None:
        if not price.reason:
            yield "price.reason", "is missing although there is no amount"
        return
    for field in ("unit", "source", "as_of"):
        if not getattr(price, field):
            yield f"price.{field}", "is missing although there is an amount"
    if price.amount_per_hour > HIGHEST_PRICE_PER_HOUR:
        yield "price.amount_per_hour", f"is over {HIGHEST_PRICE_PER_HOUR}"
    if price.unit and not UNIT.fullmatch(price.unit):
        yield "price.unit", f"{price.unit!r} is no unit"
    if price.source and "://" in price.source and not price.source.startswith("https://"):
        yield "price.source", "is a link, but not to an https page"


def value_at(record: Record, field: str) -> Any:
    """The value at a dotted field."""
    value: Any = record
    for name in field.split("."):
        value = getattr(value, name)
    return value
