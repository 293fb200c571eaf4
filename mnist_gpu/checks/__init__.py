"""What about a machine would make a run slow, wrong or impossible."""

from collections.abc import Callable, Iterator

from mnist_gpu.checks import accelerators, place, processor, software
from mnist_gpu.checks.finding import Finding, found
from mnist_gpu.checks.machine import Machine

Check = Callable[[Machine], Iterator[Finding]]

# the load first: what the other checks do themselves is then not yet under way
CHECKS: tuple[Check, ...] = (
    processor.others,
    *(software.harmful, software.framework),
    *(place.platform, place.virtual, software.variables),
    *(accelerators.python, accelerators.macos, accelerators.metal),
    *(accelerators.gpu, accelerators.torch_build, accelerators.load),
    *(processor.share, processor.threads, processor.throttled),
    *(processor.mains, processor.saving, processor.heat),
    *(place.memory, place.shared_memory, place.results, place.cache, place.dataset, place.clock),
)


def examine(machine: Machine, deep: bool = False) -> list[Finding]:
    """Make every check; one that itself fails becomes a warning. With `deep` the engine's framework
    is imported and computed with, unless a package is harmful."""
    made = [finding for check in CHECKS for finding in _made(check, machine)]
    if deep and not any(finding.check == "harmful_package" for finding in made):
        made += _made(software.imports, machine)
    return made


def _made(check: Check, machine: Machine) -> list[Finding]:
    made: list[Finding] = []
    try:
        made.extend(check(machine))
    except Exception as exc:  # a machine may surprise in as many ways as there are machines
        question = (check.__doc__ or check.__name__).splitlines()[0]
        made.append(
            found("unknown", question=question, fault=f"{type(exc).__name__}: {exc}".rstrip(".: "))
        )
    return made
