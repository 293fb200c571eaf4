"""Rules on what a record claims to be: protocol, workload, platform, price, label and engine."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from typing import Any

from mnist_gpu.measure import signals
from mnist_gpu.paths import choices, shipped
from mnist_gpu.protocol.standard import deviating, protocol
from mnist_gpu.records.acceptable import label_fault, price_faults
from mnist_gpu.records.facts import facts
from mnist_gpu.records.rules.registry import Finding, rule, unequal
from mnist_gpu.records.schema import Record

LABELLED = ("label", "kind")
PRICED = ("amount_per_hour", "unit", "free")
ALIKE = str.maketrans(*facts("texts")["alike"])


@cache
def known_platforms() -> dict[str, dict[str, Any]]:
    """The platforms of `conf/platform/` by name, but `auto`."""
    return {name: shipped(f"platform/{name}") for name in choices("platform") if name != "auto"}


@rule
def deviations_declared(record: Record) -> Iterator[Finding]:
    """A run is standard exactly where nothing deviates, and each deviation is declared by name."""
    work = record.workload
    found = _deviating_words(record)
    if work.standard and (work.deviations or found):
        reason = f"is true, but the run deviates: {', '.join([*work.deviations, *found])}"
        yield "workload.standard", reason
    if not work.standard:
        declared = " ".join(work.deviations)
        if not declared:
            yield "workload.deviations", "is empty although the run is not standard"
        for word in found:
            if not re.search(rf"\b{re.escape(word)}\b", declared):
                yield "workload.deviations", f"does not declare the deviation in {word}"


def _deviating_words(record: Record) -> list[str]:
    """The words by which this record must declare its deviations, from the record's own fields."""
    known = dict(record.workload)
    known["precision"] = record.engine.precision
    known["devices"] = max(known["devices"], record.hardware.accelerator_count)
    return list(deviating(known, record.protocol_version))


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
def price_consistent(record: Record) -> Iterable[Finding]:
    """A price has amount, unit, source and date; where there is none, a reason."""
    return ((f"price.{field}", why) for field, why in price_faults(record.price))


@rule
def platform_facts(record: Record) -> Iterator[Finding]:
    """Label, kind and price of a platform in conf/platform are those that stand there."""
    yield from unlike_the_known(record.platform, record.price)


def unlike_the_known(platform: Any, price: Any) -> Iterator[Finding]:
    """Where a platform that goes by the name of one in conf/platform is not that.

    Args:
        platform: of a record, or of a configuration.
        price: likewise.
    """
    known = known_platforms().get(platform.name)
    if known is None:
        return
    stated = [(f"platform.{name}", getattr(platform, name), known[name]) for name in LABELLED]
    # a price that has changed since has another date; whoever owns the machine names their own
    aged = price.as_of is not None and price.as_of != known["price"].get("as_of")
    if known["kind"] != "local" and not aged:
        priced = known["price"]
        stated += [(f"price.{name}", getattr(price, name), priced.get(name)) for name in PRICED]
    yield from unequal(stated, f"conf/platform/{platform.name}.yaml says")


@rule
def platform_verified(record: Record) -> Iterator[Finding]:
    """`verified` and `detected` are worked out again from the signals that the record holds."""
    platform = record.platform
    found = signals.from_signals(platform.signals)
    names = {*signals.FRONTENDS, *signals.HOSTS}
    if found.name != platform.detected and (found.name != "none" or platform.detected in names):
        yield "platform.detected", f"is {platform.detected}, but the signals say {found.name}"
    known = known_platforms().get(platform.name)
    if known is not None and platform.verified:
        name = record.hardware.accelerator_name
        if not signals.matches(known.get("detect"), found, name):
            reason = f"is true, but nothing in platform.signals says {platform.name}"
            yield "platform.verified", reason


@rule
def label_readable(record: Record) -> Iterator[Finding]:
    """A platform's label is 3 to 60 printable characters and looks like no other's."""
    if fault := label_fault(record.platform.label):
        yield "platform.label", fault
    yield from looks_like_another(record.platform.name, record.platform.label)


def looks_like_another(name: str, label: str) -> Iterator[Finding]:
    """What a hurried reader would take for a platform that is there, or for a row of the table."""
    if name in known_platforms():
        return
    if (other := _lookalikes("label").get(_skeleton(label))) is not None:
        yield "platform.label", f"{label!r} looks like the label of {other}"
    if (other := _lookalikes("name").get(_skeleton(name))) is not None:
        yield "platform.name", f"{name!r} looks like {other}"


@cache
def _lookalikes(of: str) -> dict[str, str]:
    """What is taken, as a hurried reader sees it: labels, or names."""
    if of == "name":
        return {_skeleton(name): name for name in known_platforms()}
    labels = {_skeleton(entry["label"]): name for name, entry in known_platforms().items()}
    return labels | {_skeleton(row["label"]): row["label"] for row in facts("rows")}


@lru_cache(maxsize=8192)
def _skeleton(text: str) -> str:
    """What is left of a text if only what a hurried reader sees counts."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    plain = "".join(char for char in plain if not unicodedata.combining(char))
    return re.sub(r"[\W_]+", "", plain.translate(ALIKE))


@rule
def engine_agrees(record: Record) -> Iterator[Finding]:
    """Engine, framework, backend, packages, switches and kernels can stand together."""
    engine = record.engine
    known = facts("engines")["engines"].get(engine.name)
    if known is None:
        return
    for field in ("framework", "backend"):
        if not re.fullmatch(known[field], getattr(engine, field)):
            reason = f"is {getattr(engine, field)!r}, which engine {engine.name} never says"
            yield f"engine.{field}", reason
    for package in known["packages"]:
        if (package := package.format(backend=engine.backend)) not in record.software.packages:
            yield "software.packages", f"has no {package}, which engine {engine.name} needs"
    for name in engine.switches.keys() - shipped(f"engine/{engine.name}")["switches"].keys():
        yield "engine.switches", f"{name} is no switch of engine {engine.name}"
    if engine.kernels and not known["kernels"]:
        yield "engine.kernels", f"engine {engine.name} has none"
    if engine.switches.get("compile") and engine.compile == "none":
        yield "engine.compile", "is none, but the switch compile was on"


@rule
def division_worked_out(record: Record) -> Iterator[Finding]:
    """A kernel makes a run open, a switch or the environment tuned, nothing of these stock."""
    engine = record.engine
    tuned = bool(engine.switches or engine.environment)
    division = "open" if engine.kernels else "tuned" if tuned else "stock"
    yield from unequal([("engine.division", engine.division, division)], "what was on makes it")
    for name, value in engine.switches.items():
        if value is False:
            yield f"engine.switches.{name}", "is off, and no switch"
