"""The packages of this environment, looked at without importing one, and its variables; and what
only importing the framework can tell."""

import os
import time
import tomllib
from collections.abc import Iterator
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from mnist_gpu.checks.finding import Finding, found
from mnist_gpu.checks.machine import Machine
from mnist_gpu.engines import find
from mnist_gpu.errors import UserError
from mnist_gpu.paths import PACKAGE, packaged
from mnist_gpu.system import text

# a platform's own image may set them: they are then a part of the platform
SPEED_VARIABLES = ("LD_PRELOAD", "MALLOC_", "XLA_FLAGS", "PL_TRAINER_")
# of float32 over sums of 64 terms; TF32, which stock does not use, is off by more
TOLERANCE = 1e-4
DEVICES = {"cuda": "NVIDIA GPU", "mps": "GPU through Metal"}


def harmful(machine: Machine) -> Iterator[Finding]:
    """Releases that steal, or that cannot work."""
    here = [
        found("harmful_package", package=package, version=version, **entry)
        for entry in packaged("measure/data/packages")["avoid"]
        for package in entry["packages"]
        if (version := machine.version(package)) and _meant(entry, version, machine)
    ]
    yield from here or [found("no_harmful_package")]


def framework(machine: Machine) -> Iterator[Finding]:
    """What the asked engine imports."""
    engine, asked = machine.engine, _asked(machine)
    extra = "" if machine.pytorch else f"[{engine}]"
    words = {"engine": engine, "extra": extra, "install": f'pip install "mnist-gpu{extra}"'}
    missing = [wanted.name for wanted in asked if not _present(wanted.name, machine)]
    unfit = [
        f"{wanted.name} {version} ({wanted.specifier} is asked for)"
        for wanted in asked
        if (version := machine.version(wanted.name)) and not fits(version, str(wanted.specifier))
    ]
    if missing:
        yield found("package_missing", packages=", ".join(missing), **words)
    if unfit:
        yield found("package_unfit", packages=", ".join(unfit), **words)
    if not missing and not unfit:
        names = dict.fromkeys(("torch", engine) if machine.pytorch else (engine,))
        versions = [f"{name} {machine.version(name) or '(version unknown)'}" for name in names]
        yield found("packages", engine=engine, versions=", ".join(versions))


def variables(machine: Machine) -> Iterator[Finding]:
    """Are there variables that make a run another than the standard one?"""
    names = [name for name in sorted(machine.environ) if name.startswith(SPEED_VARIABLES)]
    if names and machine.detection.front not in ("kaggle", "colab"):
        yield found("variables", names=", ".join(names), unset=" ".join(names))


def imports(machine: Machine) -> Iterator[Finding]:
    """Does the engine's framework load?"""
    began = time.perf_counter()
    try:
        find(machine.engine)
    except (UserError, ImportError, OSError, RuntimeError) as exc:
        yield found("does_not_load", engine=machine.engine, fault=_first_line(exc))
        return
    took = f"{time.perf_counter() - began:.1f}"
    yield found("loads", engine=machine.engine, seconds=took)
    if machine.pytorch:
        yield _device(machine)


def _device(machine: Machine) -> Finding:
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    for name, available in there.items():
        if machine.asks_for(name) and not available:
            return found("no_device", device=DEVICES[name], why=_why_no(torch, name))
    return computes(torch, next((n for n in there if there[n] and machine.wants(n)), "cpu"))


def _why_no(torch: Any, name: str) -> str:
    if name == "mps":
        built = torch.backends.mps.is_built()
        return "macOS does not offer it" if built else "it is built without Metal"
    return "the driver offers none" if torch.version.cuda else "it is built without CUDA"


def computes(torch: Any, device: str) -> Finding:
    """The product of a layer's backward pass, against float64 on the processor."""
    made = torch.Generator().manual_seed(0)
    images, gradient = (torch.randn(64, width, generator=made) for width in (512, 128))
    try:
        product = (gradient.to(device).t() @ images.to(device)).cpu().double()
    except RuntimeError as exc:
        return found("computes_not", device=device, fault=_first_line(exc))
    right = gradient.double().t() @ images.double()
    error = float((product - right).abs().max() / right.abs().max())
    if error < TOLERANCE:
        name = torch.cuda.get_device_name() if device == "cuda" else device
        return found("computes", device="the processor" if name == "cpu" else name)
    return found("computes_wrongly", device=device, error=f"{error:.1g}")


def _first_line(exc: Exception) -> str:
    return (str(exc).splitlines() or [type(exc).__name__])[0].rstrip(".")


def fits(version: str, specifier: str) -> bool:
    """Whether a version is among those that `specifier` (such as `>=2.7,<2.14`) means."""
    return SpecifierSet(specifier).contains(version, prereleases=True)


def _asked(machine: Machine) -> list[Requirement]:
    """What this program asks for, with the engine's extra: from the installed package's metadata,
    in a checkout from its `pyproject.toml`."""
    package = machine.distribution("mnist-gpu")
    if package is not None:
        lines = package.requires or []
    else:
        project = tomllib.loads(text(PACKAGE.parent / "pyproject.toml")).get("project", {})
        extras = project.get("optional-dependencies", {})
        lines = [*project.get("dependencies", []), *extras.get(machine.engine, [])]
    markers = {"extra": machine.engine, "sys_platform": machine.system.lower()}
    asked = map(Requirement, lines)
    return [wanted for wanted in asked if not wanted.marker or wanted.marker.evaluate(markers)]


def _present(name: str, machine: Machine) -> bool:
    # builds of a framework have many names (tensorflow-cpu), its module has one
    modules = [f"{folder}/{name.replace('-', '_')}" for folder in machine.packages]
    return machine.version(name) is not None or any(map(os.path.isdir, modules))


def _meant(entry: dict[str, Any], version: str, machine: Machine) -> bool:
    return any(fits(version, one) for one in entry["versions"]) and all(
        (other := machine.version(name)) and fits(other, asked)
        for name, asked in entry.get("beside", {}).items()
    )
