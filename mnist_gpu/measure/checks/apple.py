"""Macs: is this Python the chip's own, and can it use the chip's GPU through Metal (MPS)?"""

from collections.abc import Iterator

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from mnist_gpu.measure.checks.finding import Finding, fail, ok, warn
from mnist_gpu.measure.checks.machine import Machine, known

PYTORCH_ENGINES = ("lightning", "torch")
FALLBACK = "PYTORCH_ENABLE_MPS_FALLBACK"


def rosetta(machine: Machine) -> Iterator[Finding]:
    """Is this Python translated from Intel's instructions?"""
    if not machine.mac or not _apple_chip(machine):
        return
    if machine.arch != "arm64" or machine.sysctl("sysctl.proc_translated") == "1":
        yield fail(
            "Python for this chip",
            "This Python is made for Intel's chips and runs in translation (Rosetta).",
            "The GPU cannot be used, and everything else is slower.",
            "Open a terminal without Rosetta, install Python for arm64 (from python.org, uv or"
            " Homebrew in /opt/homebrew), delete .venv and start again.",
        )
    else:
        yield ok("Python for this chip", "Made for Apple's chips (arm64).")


def metal(machine: Machine) -> Iterator[Finding]:
    """Can PyTorch use the GPU, as far as can be told without importing it?"""
    if not machine.mac or machine.engine not in PYTORCH_ENGINES or not machine.wants("mps"):
        return
    why, mend = _no_metal(machine)
    asked = machine.platform.get("accelerator") == "mps"
    if why:
        yield (fail if asked else warn)(
            "GPU through Metal", why, "A run cannot use the GPU of this Mac.", mend
        )
        return
    if machine.environ.get(FALLBACK) == "1":
        yield warn(
            "GPU through Metal",
            f"The variable {FALLBACK} is set.",
            "What Metal lacks is computed on the processor without a word, and is slow.",
            f"unset {FALLBACK}",
        )
    elif machine.sysctl("kern.hv_vmm_present") == "1":
        yield warn(
            "GPU through Metal",
            "This macOS runs in a virtual machine.",
            "Metal is slow there, may be missing, and has computed wrongly.",
            "Run on the Mac itself, and look at the result of: doctor --deep",
        )
    else:
        yield ok("GPU through Metal", "Nothing stands against it.")
    yield from _wrong_results(machine)


def mac_version(machine: Machine) -> Iterator[Finding]:
    """Is macOS new enough for the installed packages?"""
    release = machine.run("/usr/bin/sw_vers", "-productVersion") if machine.mac else None
    if not release:
        return
    too_old = [
        row
        for row in known("packages")["macos"]
        if (version := machine.version(row["package"]))
        and SpecifierSet(row["versions"]).contains(version, prereleases=True)
        and Version(release) < Version(row["macos"])
    ]
    for row in too_old:
        yield fail(
            "macOS",
            f"This is macOS {release}; {row['package']} {machine.version(row['package'])} is made"
            f" for macOS {row['macos']} and newer.",
            "It may not load, or not find the GPU.",
            f"Update macOS, or install an older {row['package']}.",
        )
    if not too_old:
        yield ok("macOS", f"macOS {release}.")


def _apple_chip(machine: Machine) -> bool:
    return (machine.sysctl("machdep.cpu.brand_string") or "").startswith("Apple")


def _no_metal(machine: Machine) -> tuple[str, str]:
    """Why there can be no MPS, and the mend; two empty strings where nothing is against it."""
    if not _apple_chip(machine):
        return "This Mac has an Intel chip; PyTorch needs Apple's.", "Run with platform=cpu."
    if machine.arch != "arm64":
        return "This Python is made for Intel's chips.", "Install Python for arm64."
    if machine.version("torch") is None:
        return "PyTorch is not installed.", "pip install torch"
    if machine.environ.get("DISABLE_MPS") == "1":
        return "The variable DISABLE_MPS is set, and Lightning obeys it.", "unset DISABLE_MPS"
    return "", ""


def _wrong_results(machine: Machine) -> Iterator[Finding]:
    version = machine.version("torch") or "0"
    for entry in known("torch")["mps_wrong_results"]:
        if SpecifierSet(entry["torch"]).contains(version, prereleases=True):
            yield warn(
                "Results on Metal",
                f"PyTorch {version} is known to compute wrongly on Metal: {entry['what']}.",
                f"The accuracy may be wrong. Source: {entry['source']}",
                f"{entry['mend'][0].upper()}{entry['mend'][1:]}.",
            )
