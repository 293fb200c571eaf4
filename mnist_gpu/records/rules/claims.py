"""Rules on what a record claims of itself: protocol, workload, platform and price."""

import re
from collections.abc import Iterator

from mnist_gpu.protocol.standard import deviating, protocol
from mnist_gpu.records.acceptable import price_faults
from mnist_gpu.records.rules.registry import Finding, Subject, rule
from mnist_gpu.records.schema import Record


@rule
def deviations_declared(subject: Subject) -> Iterator[Finding]:
    """A run is standard exactly where nothing deviates, and each deviation is declared by name."""
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
    known = record.workload.model_dump()
    known["precision"] = record.engine.precision
    known["devices"] = max(known["devices"], record.hardware.accelerator_count)
    return list(deviating(known, record.protocol_version))


@rule
def known_workload(subject: Subject) -> Iterator[Finding]:
    """The data set has its protocol's sizes, and the arithmetic fits the parameters."""
    record = subject.record
    workload, rules = record.workload, protocol(record.protocol_version)
    if workload.dataset in ("mnist", "synthetic"):
        for field, size in rules["sizes"].items():
            if getattr(workload, field) != size:
                yield f"workload.{field}", f"is {getattr(workload, field)}, not {size}"
    known = rules["mnist_sha256"]
    if workload.dataset == "mnist" and known and workload.dataset_sha256 != known:
        yield "workload.dataset_sha256", "is not that of MNIST"
    # every weight is used at least once a pass, in two passes, in a multiply and an add
    if workload.flops_per_sample < 3.5 * workload.n_parameters or workload.n_parameters == 0:
        yield "workload.flops_per_sample", f"is too little for {workload.n_parameters} parameters"
    if workload.n_train == 0 or workload.n_test == 0:
        yield "workload.n_train", "an empty data set trains nothing"


@rule
def platform_claim(subject: Subject) -> Iterator[Finding]:
    """The platform is the one asked for, or the one found where `auto` was asked for."""
    record = subject.record
    platform = record.platform
    if platform.claimed not in (platform.name, "auto"):
        yield "platform.claimed", f"is {platform.claimed}, but the record is of {platform.name}"


@rule
def price_consistent(subject: Subject) -> Iterator[Finding]:
    """A price has amount, unit, source and date; where there is none, a reason."""
    yield from ((f"price.{field}", why) for field, why in price_faults(subject.record.price))
