"""Macs: is this Python the chip's own, and can it use the chip's GPU through Metal (MPS)?"""

from collections.abc import Iterator

from packaging.version import Version

from mnist_gpu.checks.finding import Finding, found, known
from mnist_gpu.checks.machine import Machine
from mnist_gpu.checks.software import fits


def python(machine: Machine) -> Iterator[Finding]:
    """Is this Python translated from Intel's instructions?"""
    if _apple_chip(machine):
        yield found("rosetta" if _translated(machine) else "python_native")


def macos(machine: Machine) -> Iterator[Finding]:
    """Is macOS new enough for the installed packages?"""
    release = machine.run("/usr/bin/sw_vers", "-productVersion") if machine.mac else None
    if not release:
        return
    too_old = [
        found("macos_too_old", release=release, version=version, needs=row["macos"], **row)
        for row in known("packages")["macos"]
        if (version := machine.version(row["package"]))
        and fits(version, row["versions"])
        and Version(release) < Version(row["macos"])
    ]
    yield from too_old or [found("macos", release=release)]


def metal(machine: Machine) -> Iterator[Finding]:
    """Can PyTorch use the GPU, as far as can be told without importing it?"""
    asked = machine.asks_for("mps")
    if asked and not machine.mac:
        yield found("no_metal_here", platform=machine.platform["name"])
    elif asked and not machine.pytorch and machine.engine != "mlx":
        yield found("no_metal_engine", engine=machine.engine)
    # a translated Python has a line of its own
    if not (machine.mac and machine.pytorch and machine.wants("mps")) or _translated(machine):
        return
    status = "fail" if asked else None
    if not _apple_chip(machine):
        yield found("no_metal_intel", status)
        return
    if machine.environ.get("DISABLE_MPS") == "1":
        yield found("no_metal_variable", status)
        return
    against = [
        name
        for name, seen in (
            ("metal_fallback", machine.environ.get("PYTORCH_ENABLE_MPS_FALLBACK") == "1"),
            ("metal_virtual", machine.sysctl("kern.hv_vmm_present") == "1"),
        )
        if seen
    ]
    yield from map(found, against or ["metal"])
    version = machine.version("torch")
    for entry in known("torch")["mps_wrong_results"]:
        if version and fits(version, entry["torch"]):
            mend = f"{entry['mend'][0].upper()}{entry['mend'][1:]}."
            yield found("metal_wrong", version=version, **{**entry, "mend": mend})


def _apple_chip(machine: Machine) -> bool:
    return (machine.sysctl("machdep.cpu.brand_string") or "").startswith("Apple")


def _translated(machine: Machine) -> bool:
    return _apple_chip(machine) and (
        machine.arch != "arm64" or machine.sysctl("sysctl.proc_translated") == "1"
    )
