"""Rules on names: platforms, engines and labels are what they say they are."""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any

from mnist_gpu.paths import choices, shipped
from mnist_gpu.records import signals
from mnist_gpu.records.facts import facts
from mnist_gpu.records.rules.registry import Finding, Subject, rule
from mnist_gpu.records.schema import Platform

SHORTEST_LABEL, LONGEST_LABEL = 3, 60
NOT_A_LABEL = {"tbd", "todo", "n/a", "none", "null", "unknown", "???", "...", "nan", "undefined"}
LINK = re.compile(r"https?:|www\.|\w\.(?:com|org|net|io|dev|ai|edu|gov)\b", re.I)
# letters of other scripts, and digits, that are drawn as Latin ones; NFKC does the rest
ALIKE = str.maketrans(
    "аеоріхсуѕјкмтнвзԁɡαβγεικνορτυχωıłø01|!5$",
    "aeopixcysjkmthb3dgabyeiknoptuxwiloolllss",
)


@cache
def known_platforms() -> dict[str, dict[str, Any]]:
    """The platforms of `conf/platform/` by name, but `auto`."""
    return {name: shipped(f"platform/{name}") for name in choices("platform") if name != "auto"}


@cache
def _known_labels() -> dict[str, str]:
    labels = {skeleton(entry["label"]): name for name, entry in known_platforms().items()}
    return labels | {skeleton(row["label"]): row["label"] for row in facts("rows")}


@cache
def _known_names() -> dict[str, str]:
    return {skeleton(name): name for name in known_platforms()}


@lru_cache(maxsize=8192)
def skeleton(text: str) -> str:
    """What is left of a text if only what a hurried reader sees counts."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    plain = "".join(char for char in plain if not unicodedata.combining(char))
    return re.sub(r"[\W_]+", "", plain.translate(ALIKE))


@rule
def platform_facts(subject: Subject) -> Iterator[Finding]:
    """Label, kind, price and limits of a platform in conf/platform are those that stand there."""
    record = subject.record
    known = known_platforms().get(record.platform.name)
    if known is None:
        return
    for field in ("label", "kind"):
        if getattr(record.platform, field) != known[field]:
            found = getattr(record.platform, field)
            yield (
                f"platform.{field}",
                f"is {found!r}, but {record.platform.name} has {known[field]!r}",
            )
    price = known["price"]
    # a price that has changed since has another date; whoever owns the machine names their own
    aged = record.price.as_of is not None and record.price.as_of != price.get("as_of")
    for field in ("amount_per_hour", "unit", "free"):
        stated = getattr(record.price, field)
        if known["kind"] != "local" and not aged and stated != price.get(field):
            yield (
                f"price.{field}",
                f"is {stated}, but {record.platform.name} has {price.get(field)}",
            )


@rule
def platform_verified(subject: Subject) -> Iterator[Finding]:
    """`verified` and `detected` are worked out again from the signals that the record holds."""
    platform = subject.record.platform
    found = signals.from_signals(platform.signals)
    names = {*signals.FRONTENDS, *signals.HOSTS}
    if found.name != platform.detected and (found.name != "none" or platform.detected in names):
        yield "platform.detected", f"is {platform.detected}, but the signals say {found.name}"
    known = known_platforms().get(platform.name)
    if known is not None:
        name = subject.record.hardware.accelerator_name
        holds = signals.matches(known.get("detect"), found, name)
        if platform.verified and not holds:
            reason = f"is true, but nothing in platform.signals says {platform.name}"
            yield "platform.verified", reason


@rule
def label_readable(subject: Subject) -> Iterator[Finding]:
    """A platform's label is 3 to 60 printable characters and looks like no other's."""
    platform = subject.record.platform
    label = platform.label
    columns = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in label)
    if not SHORTEST_LABEL <= columns <= LONGEST_LABEL or label != label.strip():
        yield "platform.label", f"has {columns} columns; {SHORTEST_LABEL} to {LONGEST_LABEL} fit"
    elif label.casefold() in NOT_A_LABEL or sum(char.isalnum() for char in label) < 2:
        yield "platform.label", f"{label!r} names no platform"
    elif LINK.search(label):
        yield "platform.label", "holds what a page would make a link of"
    elif any(unicodedata.bidirectional(char) in ("R", "AL", "AN") for char in label):
        yield "platform.label", "is written from right to left"
    yield from _impostor(platform)


def _impostor(platform: Platform) -> Iterator[Finding]:
    if platform.name in known_platforms():
        return
    if (other := _known_labels().get(skeleton(platform.label))) is not None:
        yield "platform.label", f"{platform.label!r} looks like the label of {other}"
    if (other := _known_names().get(skeleton(platform.name))) is not None:
        yield "platform.name", f"{platform.name!r} looks like {other}"


@rule
def engine_agrees(subject: Subject) -> Iterator[Finding]:
    """Engine, framework, backend, packages, switches and kernels can stand together."""
    engine, packages = subject.record.engine, subject.record.software.packages
    known = facts("engines")["engines"].get(engine.name)
    if known is None:
        return
    for field in ("framework", "backend"):
        if not re.fullmatch(known[field], getattr(engine, field)):
            reason = f"is {getattr(engine, field)!r}, which engine {engine.name} never says"
            yield f"engine.{field}", reason
    for package in known["packages"]:
        if (package := package.format(backend=engine.backend)) not in packages:
            yield "software.packages", f"has no {package}, which engine {engine.name} needs"
    switches = shipped(f"engine/{engine.name}")["switches"]
    for name in engine.switches.keys() - switches.keys():
        yield "engine.switches", f"{name} is no switch of engine {engine.name}"
    if engine.kernels and not known["kernels"]:
        yield "engine.kernels", f"engine {engine.name} has none"
    if engine.switches.get("compile") and engine.compile == "none":
        yield "engine.compile", "is none, but the switch compile was on"


@rule
def division_worked_out(subject: Subject) -> Iterator[Finding]:
    """A kernel makes a run open, a switch or the environment tuned, nothing of these stock."""
    engine = subject.record.engine
    tuned = bool(engine.switches or engine.environment)
    division = "open" if engine.kernels else "tuned" if tuned else "stock"
    if engine.division != division:
        yield "engine.division", f"is {engine.division}; by switches and kernels it is {division}"
    for name, value in engine.switches.items():
        if value is False:
            yield f"engine.switches.{name}", "is off, and no switch"
