"""The packages of this environment, looked at without importing one."""

import tomllib
from collections.abc import Iterator

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from mnist_gpu.measure.checks.finding import Finding, fail, ok, warn
from mnist_gpu.measure.checks.machine import Machine, known
from mnist_gpu.paths import PACKAGE


def malicious(machine: Machine) -> Iterator[Finding]:
    """Releases that steal, or that cannot work."""
    found = [
        fail(
            "Packages to avoid",
            f"{package} {version} {entry['what']}.",
            f"Nothing that runs here can be trusted to work. Source: {entry['source']}",
            entry["mend"],
        )
        for entry in known("packages")["avoid"]
        for package in entry["packages"]
        if (version := machine.version(package)) and _meant(entry, version, machine)
    ]
    yield from found or [ok("Packages to avoid", "None of the known harmful releases is here.")]


def framework(machine: Machine) -> Iterator[Finding]:
    """What the asked engine imports."""
    asked = requirements(machine, machine.engine)
    missing = [wanted.name for wanted in asked if not _present(wanted, machine)]
    old = [
        f"{wanted.name} is {version} where {wanted.specifier} is asked for"
        for wanted in asked
        if (version := machine.version(wanted.name))
        and not wanted.specifier.contains(version, prereleases=True)
    ]
    extra = machine.engine if requirements(machine, machine.engine, optional=True) else ""
    install = f'pip install "mnist-gpu[{extra}]"' if extra else "pip install mnist-gpu"
    if missing:
        yield fail(
            "Packages",
            f"Not installed, but needed for the engine {machine.engine}: {', '.join(missing)}.",
            "A run with this engine cannot begin.",
            f"{install}; in a checkout: pip install -e .{f'[{extra}]' if extra else ''}",
        )
    if old:
        yield warn(
            "Packages",
            f"Other versions than this program was made for: {'; '.join(old)}.",
            "A run may end with an error.",
            f"{install} brings versions that fit.",
        )
    if not missing and not old:
        versions = [f"{n} {v}" for n in ("torch", machine.engine) if (v := machine.version(n))]
        yield ok(
            "Packages",
            f"All that the engine {machine.engine} needs is here"
            f"{': ' if versions else ''}{', '.join(dict.fromkeys(versions))}.",
        )


def requirements(machine: Machine, engine: str, optional: bool = False) -> list[Requirement]:
    """What this program asks for, with the engine's extra; with `optional`, that extra alone.

    Read from the installed package's metadata, in a checkout from its `pyproject.toml`.
    """
    here = machine.distribution("mnist-gpu")
    lines = list(here.requires or []) if here is not None else _of_checkout(engine)
    found = []
    for wanted in map(Requirement, lines):
        of_extra = "extra ==" in str(wanted.marker)
        if (wanted.marker is None or wanted.marker.evaluate({"extra": engine})) and (
            of_extra or not optional
        ):
            found.append(wanted)
    return found


def _of_checkout(engine: str) -> list[str]:
    path = PACKAGE.parent / "pyproject.toml"
    if not path.is_file():
        return []
    project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    extra = [Requirement(line) for line in project["optional-dependencies"].get(engine, [])]
    for wanted in extra:
        marked = f'extra == "{engine}"'
        wanted.marker = Requirement(
            f"x; ({wanted.marker}) and {marked}" if wanted.marker else f"x; {marked}"
        ).marker
    return [*project["dependencies"], *map(str, extra)]


def _present(wanted: Requirement, machine: Machine) -> bool:
    # builds of a framework have many names (tensorflow-cpu), its module has one
    module = wanted.name.replace("-", "_")
    return machine.version(wanted.name) is not None or machine.has_module(module)


def _meant(entry: dict[str, object], version: str, machine: Machine) -> bool:
    beside: dict[str, str] = entry.get("beside") or {}  # type: ignore[assignment]
    versions: list[str] = entry["versions"]  # type: ignore[assignment]
    return any(SpecifierSet(one).contains(version, prereleases=True) for one in versions) and all(
        (other := machine.version(name)) and SpecifierSet(asked).contains(other)
        for name, asked in beside.items()
    )
