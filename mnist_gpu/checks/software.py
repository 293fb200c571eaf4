"""The packages of this environment, looked at without importing one."""

import tomllib
from collections.abc import Iterator
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from mnist_gpu.checks.finding import Finding, found, known
from mnist_gpu.checks.machine import Machine
from mnist_gpu.paths import PACKAGE


def harmful(machine: Machine) -> Iterator[Finding]:
    """Releases that steal, or that cannot work."""
    here = [
        found("harmful_package", package=package, version=version, **_words(entry))
        for entry in known("packages")["avoid"]
        for package in entry["packages"]
        if (version := machine.version(package)) and _meant(entry, version, machine)
    ]
    yield from here or [found("no_harmful_package")]


def framework(machine: Machine) -> Iterator[Finding]:
    """What the asked engine imports."""
    engine = machine.engine
    asked = _asked(machine)
    extra = f"[{engine}]" if any("extra ==" in str(wanted.marker) for wanted in asked) else ""
    words = {"engine": engine, "extra": extra, "install": f'pip install "mnist-gpu{extra}"'}
    missing = [wanted.name for wanted in asked if not _present(wanted, machine)]
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


def fits(version: str, specifier: str) -> bool:
    """Whether a version is among those that `specifier` (such as `>=2.7,<2.14`) means."""
    return SpecifierSet(specifier).contains(version, prereleases=True)


def _asked(machine: Machine) -> list[Requirement]:
    """What this program asks for, with the engine's extra: from the installed package's metadata,
    in a checkout from its `pyproject.toml`."""
    package = machine.distribution("mnist-gpu")
    if package is not None:
        lines = package.requires or []
    elif (path := PACKAGE.parent / "pyproject.toml").is_file():
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        extra = (
            line if ";" in line else f"{line};"
            for line in project["optional-dependencies"].get(machine.engine, [])
        )
        lines = [
            *project["dependencies"],
            *(
                f"{name}; {f'({marker}) and ' if marker else ''}extra == '{machine.engine}'"
                for name, _, marker in (line.partition(";") for line in extra)
            ),
        ]
    else:
        lines = []
    markers = {"extra": machine.engine, "sys_platform": machine.system.lower()}
    asked = map(Requirement, lines)
    return [wanted for wanted in asked if not wanted.marker or wanted.marker.evaluate(markers)]


def _present(wanted: Requirement, machine: Machine) -> bool:
    # builds of a framework have many names (tensorflow-cpu), its module has one
    module = wanted.name.replace("-", "_")
    return machine.version(wanted.name) is not None or machine.has_module(module)


def _meant(entry: dict[str, Any], version: str, machine: Machine) -> bool:
    return any(fits(version, one) for one in entry["versions"]) and all(
        (other := machine.version(name)) and fits(other, asked)
        for name, asked in entry.get("beside", {}).items()
    )


def _words(entry: dict[str, Any]) -> dict[str, str]:
    return {key: entry[key] for key in ("what", "costs", "mend", "source")}
