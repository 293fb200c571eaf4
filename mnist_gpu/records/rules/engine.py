"""Rules on who trained: engine, versions, switches and kernels that can stand together."""

import re
from collections.abc import Iterator
from typing import Any

from mnist_gpu.paths import shipped
from mnist_gpu.records.facts import facts, limits
from mnist_gpu.records.rules.registry import Finding, rule, unequal
from mnist_gpu.records.schema import EngineRecord, Record

ENGINES = facts("engines")
VERSION = re.compile(r"\d[\w.+!-]{0,60}")
LIMIT = limits()


def _known(engine: EngineRecord) -> dict[str, Any] | None:
    """What is known of an engine; one of which nothing is makes doubted rows."""
    known: dict[str, Any] | None = ENGINES["engines"].get(engine.name)
    return known


@rule
def engine_agrees(record: Record) -> Iterator[Finding]:
    """Engine, framework, backend, packages, versions, switches and kernels can stand together."""
    engine, known = record.engine, _known(record.engine)
    if not VERSION.fullmatch(record.software.program_version):
        yield "software.program_version", f"{record.software.program_version!r:.60} is no version"
    if known is None:
        return
    for field in ("framework", "backend", "compile"):
        if not re.fullmatch(known[field], getattr(engine, field)):
            reason = f"is {getattr(engine, field)!r:.60}, which engine {engine.name} never says"
            yield f"engine.{field}", reason
    for package in known["packages"]:
        if (package := package.format(backend=engine.backend)) not in record.software.packages:
            yield "software.packages", f"has no {package}, which engine {engine.name} needs"
    for text, switch in known["compiled_by"].items():
        if (on := bool(engine.switches.get(switch))) != (engine.compile == text):
            reason = f"is {engine.compile}, but the switch {switch} was {'on' if on else 'off'}"
            yield "engine.compile", reason
    kind = record.hardware.accelerator
    told = engine.name in ENGINES["deterministic_on_cpu"]
    if told and engine.deterministic is not (kind == "cpu"):
        yield "engine.deterministic", f"is {engine.deterministic}, which it is not on {kind}"
    compilers = known.get("compiled_for", {}).get(engine.backend)
    if compilers and engine.compile not in compilers:
        yield "engine.compile", f"is {engine.compile}, which is not {engine.backend}'s"
    if kind == "cuda" and "+cpu" in engine.backend:
        yield "engine.backend", f"is {engine.backend}, which has no {kind}"
    if engine.version > known["version"]:
        yield "engine.version", f"is {engine.version}, and {known['version']} is the newest"
    yield from _versions(record, known["versions"])
    yield from _there(record, known)


def _versions(record: Record, of: dict[str, str]) -> Iterator[Finding]:
    """The versions of framework and backend are those of their packages."""
    packages = record.software.packages
    for field, package in of.items():
        version = getattr(record.engine, field).rpartition(" ")[2]
        installed = packages.get(package)
        if not VERSION.fullmatch(version):
            yield f"engine.{field}", f"{version!r:.60} is no version"
        elif installed is not None and _release(version) != _release(installed):
            yield f"engine.{field}", f"is {version}, but software.packages say {installed:.60}"


def _release(version: str) -> list[str]:
    """Major and minor; what follows them a framework and its package may write in two ways."""
    return version.split(".")[:2]


def _there(record: Record, known: dict[str, Any]) -> Iterator[Finding]:
    """Switches and kernels are the engine's, and exist on the device."""
    engine, kind = record.engine, record.hardware.accelerator
    of_one_device = ENGINES["switches_of_one_device"]
    for name in engine.switches.keys() - shipped(f"engine/{engine.name}")["switches"].keys():
        yield "engine.switches", f"{name} is no switch of engine {engine.name}"
    for name in engine.switches.keys() & of_one_device.keys():
        if of_one_device[name] != kind:
            yield "engine.switches", f"{name} is no switch on {kind}"
    if engine.kernels and not known["kernels"]:
        yield "engine.kernels", f"engine {engine.name} has none"
    if engine.kernels and kind != "cpu":
        yield "engine.kernels", f"are for a processor, not for {kind}"
    for name in (name for name in engine.kernels if name not in ENGINES["kernels"]):
        yield "engine.kernels", f"{name} is no kernel of this project"


@rule
def division_worked_out(record: Record) -> Iterator[Finding]:
    """A kernel makes a run open, a switch or the environment tuned, nothing of these stock."""
    engine = record.engine
    tuned = bool(engine.switches or engine.environment)
    division = "open" if engine.kernels else "tuned" if tuned else "stock"
    yield from unequal([("engine.division", engine.division, division)], "what was on makes it")
    # what a framework has on by itself is a switch where it is off
    on = (_known(engine) or {}).get("on_by_default", [])
    for name, value in engine.switches.items():
        field = f"engine.switches.{name}"
        if name in ENGINES["counting_switches"]:
            if type(value) is not int or value < 1:
                yield field, f"is {value!r:.60}, and no whole number from 1"
        elif value is not True and (value is not False or name not in on):
            yield field, f"is {value!r:.60}, and no switch that is on"
    for name, text in engine.environment.items():
        if len(text) > LIMIT.environment_letters:
            yield f"engine.environment.{name}", f"has {len(text)} letters, more than a run writes"


@rule
def defaults_named(record: Record) -> Iterator[Finding]:
    """Where a framework's default was set aside is named; every engine sets some aside."""
    engine, field = record.engine, "engine.deviations_from_defaults"
    if _known(engine) is None:
        return
    said = " ".join(engine.deviations_from_defaults)
    for what in ENGINES["set_aside"]:
        if what not in said:
            yield field, f"says nothing of {what}, where every engine sets a default aside"
    kind, named = record.hardware.accelerator, "TF32" in said
    if (kind, engine.precision) == ("cuda", "float32") and not named:
        yield field, "does not say that TF32 is off, as it is in float32 on cuda"
    if named and (kind, engine.precision) != ("cuda", "float32"):
        yield field, f"says that TF32 is off, but this is {engine.precision} on {kind}"
    for name, words in ENGINES["own_lines"].items():
        if (words in said) is not (engine.name == name):
            yield field, f"{words!r} is a line of engine {name} and of no other"
