"""The processor: how much of it this process has, and how many threads will use it."""

from collections.abc import Iterator

from mnist_gpu.measure import cgroup, cpus, virtualisation
from mnist_gpu.measure.checks.finding import Finding, ok, warn
from mnist_gpu.measure.checks.machine import Machine
from mnist_gpu.measure.sources import text

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
)
# of these the ones that a platform's own image sets are part of the platform
SPEED_VARIABLES = ("LD_PRELOAD", "MALLOC_", "XLA_FLAGS", "PL_TRAINER_")
THROTTLED_SHARE = 0.1
MANY_CPUS = 4


def share(machine: Machine) -> Iterator[Finding]:
    """How many of the machine's CPUs are this process' own?"""
    there, mine = _there(machine), _mine(machine)
    quota, threads = cpus.quota(machine.root), cpus.threads(machine.root, machine.sysctl)
    limits = []
    if mine < there:
        limits.append(f"it is bound to {mine}")
    if quota is not None and quota < there:
        limits.append(f"its container may use the time of {quota:g}")
    cores = cpus.physical_cores(machine.root, machine.sysctl)
    says = f"The machine has {_count(there, 'CPU')}"
    says += f"; of these this program may use fewer: {' and '.join(limits)}" if limits else ""
    if quota is not None and quota < 1:
        yield warn(
            "CPUs",
            f"{says}.",
            "The program stands still for a part of every tenth of a second.",
            "Start the container with at least one whole CPU, better two.",
        )
    elif threads == 1 and there >= MANY_CPUS:
        yield warn(
            "CPUs",
            f"{says}.",
            "A run computes with one thread.",
            "Ask for more: Slurm's --cpus-per-task, docker's --cpus, a larger server on a hub.",
        )
    elif quota is not None and mine < min(quota, there):
        yield warn(
            "CPUs",
            f"{says}.",
            f"Of what the container may use, {quota - mine:g} CPUs stay idle.",
            "Start the program without taskset or docker's --cpuset-cpus.",
        )
    else:
        yield ok(
            "CPUs", f"{says}. A run uses {_count(threads, 'thread')} on {_count(cores, 'core')}."
        )


def threads(machine: Machine) -> Iterator[Finding]:
    """Do the variables that set the number of threads fit the processor?"""
    root = machine.root
    best, logical = cpus.threads(root, machine.sysctl), _mine(machine)
    quota = cpus.quota(root)
    fitting = True
    for name in THREAD_VARIABLES:
        value = machine.environ.get(name)
        # OMP_NUM_THREADS may be a list, one number for each level of nesting
        number = (value or "").split(",")[0].strip()
        if value is None or number == str(best):
            continue
        fitting = False
        mend = f"unset {name}, or set it to {best}"
        if not number.isdigit() or number == "0":
            costs = "It is ignored, or read in a way nobody can foretell."
        elif int(number) < best:
            costs = f"Of {_count(best, 'core')} only {number} would work."
        elif quota is not None and int(number) > quota:
            costs = (
                f"The container may use {quota:g} CPUs: more threads than that are stopped again and"
                " again, and wait for one another."
            )
        elif int(number) <= logical:
            costs = (
                "That counts every core twice (hyper-threads): two threads on a core are rarely"
                " faster than one."
            )
        else:
            costs = (
                f"More threads than the {_count(logical, 'CPU')} here: they wait for one another."
            )
        yield warn("Threads", f"{name} is {value!r}; {best} would fit.", costs, mend)
    if fitting:
        yield ok("Threads", f"No variable stands against {_count(best, 'thread')}.")


def variables(machine: Machine) -> Iterator[Finding]:
    """Are there variables that make a run another than the standard one?"""
    if machine.detection.front in ("kaggle", "colab"):
        return
    found = [name for name in sorted(machine.environ) if name.startswith(SPEED_VARIABLES)]
    if found:
        yield warn(
            "Environment",
            f"Variables that change how a run works are set: {', '.join(found)}.",
            "The run is no longer the standard one, and cannot be compared with others.",
            f"unset {' '.join(found)}",
        )


def throttled(machine: Machine) -> Iterator[Finding]:
    """Has the container's CPU limit held programs back?"""
    counted = cgroup.throttling(machine.root)
    if counted is None or not counted.of_periods or cpus.quota(machine.root) is None:
        return
    part = counted.periods / counted.of_periods
    if part > THROTTLED_SHARE:
        yield warn(
            "CPU limit",
            f"The container's CPU limit has stopped its programs in {part:.0%} of all time slices"
            " since it was started.",
            "Programs that use more threads than the container has CPUs are slowed down.",
            "Look at the line Threads; end what else runs in the container; or ask for more CPUs.",
        )
    else:
        yield ok("CPU limit", "It has hardly ever been reached.")


def virtual(machine: Machine) -> Iterator[Finding]:
    """Is this a container or a virtual machine?"""
    kind = virtualisation.kind(machine.root, machine.environ, machine.sysctl)
    bare_metal = (machine.platform.get("detect") or {}).get("chip")
    if kind and bare_metal:
        yield warn(
            "Bare metal",
            f"{machine.platform['label']} was asked for, but this is inside: {kind}.",
            "The run shows what is left of the machine inside, not the machine.",
            "Run outside of it.",
        )
    elif kind == "WSL":
        yield ok("Bare metal", "Linux inside Windows (WSL); a run says so.")
    else:
        yield ok(
            "Bare metal", f"No: {kind}. A run says so." if kind else "No sign of anything else."
        )


def _there(machine: Machine) -> int:
    """CPUs of the machine, whoever may use them."""
    if machine.mac:
        return int(machine.sysctl("hw.logicalcpu") or 1)
    online = cpus.listed(text(machine.root / "sys/devices/system/cpu/online"))
    return max(len(online), _mine(machine))


def _mine(machine: Machine) -> int:
    """CPUs that this process may run on; macOS binds no process to some."""
    return _there(machine) if machine.mac else len(cpus.allowed(machine.root))


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
