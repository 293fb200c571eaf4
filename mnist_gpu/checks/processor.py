"""The processor: how much of it this process has, how many threads will use it, who else does."""

import os
from collections.abc import Iterator

from mnist_gpu.checks.finding import Finding, found
from mnist_gpu.checks.machine import Machine
from mnist_gpu.measure import cgroup, cpus, load
from mnist_gpu.system import text

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
)
MANY_CPUS = 4
THROTTLED_SHARE = 0.1
LOOK_S = 0.5
# in half a second, what a desktop does at rest may reach a tenth of a CPU
BUSY_CPUS, BUSY_SHARE, STOLEN_SHARE = 0.25, 0.05, 0.02
HOT = "Heat slowed the processor down while it was watched."


def share(machine: Machine) -> Iterator[Finding]:
    """How many of the machine's CPUs are this process' own?"""
    there, mine, quota, best = (
        _there(machine),
        _mine(machine),
        cpus.quota(machine.root),
        _best(machine),
    )
    limits = [f"this program is bound to {mine} of them"] if mine < there else []
    if quota is not None and quota < there:
        limits.append(f"its container may use the time of {quota:g} CPUs")
    says = "; ".join([f"The machine has {_count(there, 'CPU')}", *limits])
    if quota is not None and quota < 1:
        yield found("cpus_part", cpus=says)
    elif best == 1 and there >= MANY_CPUS:
        yield found("cpus_one", cpus=says)
    elif quota is not None and mine < min(quota, there):
        yield found("cpus_bound", cpus=says)
    else:
        cores = _count(cpus.physical_cores(machine.root, machine.sysctl), "core")
        yield found("cpus", cpus=says, threads=_count(best, "thread"), cores=cores)


def threads(machine: Machine) -> Iterator[Finding]:
    """Do the variables that set the number of threads fit the processor?"""
    best = _best(machine)
    unfit = False
    for variable in THREAD_VARIABLES:
        value = machine.environ.get(variable)
        # OMP_NUM_THREADS may be a list, one number for each level of nesting
        first = (value or "").split(",")[0].strip()
        if value is not None and first != str(best):
            unfit = True
            yield found(_misfit(machine, first, best), variable=variable, value=value, best=best)
    if not unfit:
        yield found("threads", threads=_count(best, "thread"))


def throttled(machine: Machine) -> Iterator[Finding]:
    """Has the container's CPU limit held programs back?"""
    counted = cgroup.throttling(machine.root)
    if counted is not None and counted.of_periods and cpus.quota(machine.root) is not None:
        part = counted.periods / counted.of_periods
        name = "limit_reached" if part > THROTTLED_SHARE else "limit"
        yield found(name, part=f"{part * 100:.0f} %")


def others(machine: Machine) -> Iterator[Finding]:
    """Does anything else use the CPUs, or hold them back? They are watched for half a second."""
    before, hot_before = _counters(machine), load.slowdowns(machine.root)
    machine.pause(LOOK_S)
    after, hot = _counters(machine), load.slowdowns(machine.root)
    if before is None or after is None:
        return
    n_cpus, quota = _mine(machine), cpus.quota(machine.root)
    used, stolen = ((now - then) / LOOK_S for now, then in zip(after, before, strict=True))
    # where a limit counts time, others may be busy on CPUs that this program does not need
    spare = 0 if quota is None else max(0.0, n_cpus - quota)
    busy = used - spare > max(BUSY_CPUS, BUSY_SHARE * n_cpus)
    yield found("busy" if busy else "quiet", used=f"{used:.1f}", cpus=n_cpus)
    if stolen > STOLEN_SHARE * n_cpus:
        yield found("stolen", part=f"{stolen / n_cpus * 100:.0f} %")
    if hot is not None and hot_before is not None and hot > hot_before:
        yield found("hot", what=HOT)


def _misfit(machine: Machine, stated: str, best: int) -> str:
    quota = cpus.quota(machine.root)
    if not stated.isdigit() or stated == "0":
        return "threads_unreadable"
    if int(stated) < best:
        return "threads_few"
    if quota is not None and int(stated) > quota:
        return "threads_above_limit"
    return "threads_hyper" if int(stated) <= _mine(machine) else "threads_many"


def _counters(machine: Machine) -> tuple[float, float] | None:
    """CPU seconds of everything but this process, and those that a hypervisor kept back."""
    busy = load.busy_cpu_s(machine.root)
    own = os.times()
    return None if busy is None else (busy[0] - own.user - own.system, busy[1])


def _there(machine: Machine) -> int:
    """CPUs of the machine, whoever may use them."""
    if machine.mac:
        return int(machine.sysctl("hw.logicalcpu") or 1)
    online = cpus.listed(text(machine.root / "sys/devices/system/cpu/online"))
    return max(len(online), _mine(machine))


def _mine(machine: Machine) -> int:
    """CPUs that this process may run on; macOS binds no process to some of them."""
    return _there(machine) if machine.mac else len(cpus.allowed(machine.root))


def _best(machine: Machine) -> int:
    return cpus.threads(machine.root, machine.sysctl, {})


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
