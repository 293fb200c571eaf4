"""What about a machine would make a run slow, wrong or impossible."""

from collections.abc import Callable, Iterator

from mnist_gpu.measure.checks import (
    apple,
    clock,
    load,
    nvidia,
    platform,
    power,
    processor,
    room,
    software,
)
from mnist_gpu.measure.checks.finding import Finding, warn
from mnist_gpu.measure.checks.machine import Machine

Check = Callable[[Machine], Iterator[Finding]]

# the load first: what the other checks do themselves is then not yet under way
CHECKS: tuple[Check, ...] = (
    load.cpu_load,
    software.malicious,
    software.framework,
    platform.platform,
    apple.rosetta,
    apple.mac_version,
    apple.metal,
    nvidia.gpu,
    nvidia.torch_build,
    nvidia.gpu_load,
    processor.share,
    processor.threads,
    processor.throttled,
    processor.variables,
    processor.virtual,
    power.mains,
    power.saving,
    power.heat,
    room.memory,
    room.shared_memory,
    room.folders,
    room.dataset,
    clock.clock,
)


def examine(machine: Machine, deep: bool = False) -> list[Finding]:
    """Make every check; one that itself fails becomes a warning.

    Args:
        machine: what to look at.
        deep: also import the engine's framework and compute with it, unless a package is known to
            be harmful.
    """
    found = [finding for check in CHECKS for finding in _made(check, machine)]
    if deep and not any(f.name == "Packages to avoid" and f.status == "fail" for f in found):
        from mnist_gpu.measure.checks.deep import imports

        found += _made(imports, machine)
    return found


def _made(check: Check, machine: Machine) -> list[Finding]:
    found: list[Finding] = []
    try:
        found.extend(check(machine))
    except Exception as exc:  # a machine may surprise in as many ways as there are machines
        found.append(
            warn(
                (check.__doc__ or check.__name__).splitlines()[0],
                f"This could not be found out ({type(exc).__name__}: {exc}).",
                "Something about this machine may be wrong unseen.",
                "Please report this line.",
            )
        )
    return found
