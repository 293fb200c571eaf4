"""The processor: how much of it this process has, what else uses it, and what holds it back."""

import os
import re
from collections.abc import Iterator

from mnist_gpu.checks.finding import Finding, found
from mnist_gpu.checks.machine import Machine
from mnist_gpu.measure import cgroup, cpus
from mnist_gpu.numbers import counted
from mnist_gpu.system import text

THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
)  # fmt: skip
MANY_CPUS = 4
THROTTLED_SHARE = 0.1
LOOK_S = 0.5
# in half a second, what a desktop does at rest may reach a tenth of a CPU
BUSY_CPUS, BUSY_SHARE, STOLEN_SHARE = 0.25, 0.05, 0.02
HOT = "Heat slowed the processor down while it was watched."
NEAR_LIMIT_C = 5
HELD_BELOW = 0.9
# with these drivers "powersave" is the name of the setting that adapts to the load
ADAPTING = ("intel_pstate", "amd-pstate-epp")
PRESSURE = "com.apple.system.thermalpressurelevel"


def share(machine: Machine) -> Iterator[Finding]:
    """How many of the machine's CPUs are this process' own?"""
    mine, quota, best = len(cpus.allowed(machine.root)), cgroup.quota(machine.root), _best(machine)
    there = max(mine, len(cpus.listed(text(machine.root / "sys/devices/system/cpu/online"))))
    limits = [f"this program is bound to {mine} of them"] if mine < there else []
    if quota is not None and quota < there:
        limits.append(f"its container may use the time of {counted(quota, 'CPU')}")
    says = "; ".join([f"The machine has {counted(there, 'CPU')}", *limits])
    if quota is not None and quota < 1:
        yield found("cpus_part", cpus=says)
    elif best == 1 and there >= MANY_CPUS:
        yield found("cpus_one", cpus=says)
    elif quota is not None and mine < min(quota, there):
        yield found("cpus_bound", cpus=says)
    else:
        cores = counted(cpus.physical_cores(machine.root, machine.sysctl), "core")
        yield found("cpus", cpus=says, threads=counted(best, "thread"), cores=cores)


def threads(machine: Machine) -> Iterator[Finding]:
    """Do the variables that set the number of threads fit the processor?"""
    best = _best(machine)
    stated = {name: machine.environ[name] for name in THREAD_VARIABLES if name in machine.environ}
    # OMP_NUM_THREADS may be a list, one number for each level of nesting
    firsts = {name: value.split(",")[0].strip() for name, value in stated.items()}
    unfit = [name for name, first in firsts.items() if first != str(best)]
    for name in unfit:
        misfit = _misfit(machine, firsts[name], best)
        yield found(misfit, variable=name, value=stated[name], best=best)
    if not unfit:
        yield found("threads", threads=counted(best, "thread"))


def throttled(machine: Machine) -> Iterator[Finding]:
    """Has the container's CPU limit held programs back?"""
    counted = cgroup.throttling(machine.root)
    if counted is not None and counted.of_periods and cgroup.quota(machine.root) is not None:
        part = counted.periods / counted.of_periods
        name = "limit_reached" if part > THROTTLED_SHARE else "limit"
        yield found(name, part=f"{part * 100:.0f} %")


def others(machine: Machine) -> Iterator[Finding]:
    """Does anything else use the CPUs, or hold them back? They are watched for half a second."""
    before = _counters(machine)
    machine.pause(LOOK_S)
    after = _counters(machine)
    if before is None or after is None:
        return
    used, stolen, hot = ((now - then) / LOOK_S for now, then in zip(after, before, strict=True))
    n_cpus, quota = len(cpus.allowed(machine.root)), cgroup.quota(machine.root)
    # where a limit counts time, others may be busy on CPUs that this program does not need
    spare = 0 if quota is None else max(0.0, n_cpus - quota)
    busy = used - spare > max(BUSY_CPUS, BUSY_SHARE * n_cpus)
    yield found("busy" if busy else "quiet", used=f"{used:.1f}", cpus=counted(n_cpus, "CPU"))
    if stolen > STOLEN_SHARE * n_cpus:
        yield found("stolen", part=f"{stolen / n_cpus * 100:.0f} %")
    if hot > 0:
        yield found("hot", what=HOT)


def mains(machine: Machine) -> Iterator[Finding]:
    """Is a laptop plugged in?"""
    if machine.mac:
        stated = machine.run("/usr/bin/pmset", "-g", "batt")
        on_battery = "'Battery Power'" in stated if stated else None
    else:
        on_battery = cpus.on_battery(machine.root)
    if on_battery is not None:
        yield found("battery" if on_battery else "plugged_in")


def saving(machine: Machine) -> Iterator[Finding]:
    """Does a setting save energy at the cost of speed?"""
    if machine.mac:
        stated = machine.run("/usr/bin/pmset", "-g")
        if stated:
            saves = re.search(r"\blowpowermode\s+1", stated)
            yield found("low_power_mode" if saves else "full_speed")
        return
    if text(machine.root / "sys/firmware/acpi/platform_profile") in ("low-power", "quiet"):
        yield found("saving_profile")
    first = next(iter(cpus.allowed(machine.root)), 0)
    policy = machine.root / f"sys/devices/system/cpu/cpu{first}/cpufreq"
    governor, driver = text(policy / "scaling_governor"), text(policy / "scaling_driver")
    made, held = text(policy / "cpuinfo_max_freq"), text(policy / "scaling_max_freq")
    economical = governor == "powersave" and not driver.startswith(ADAPTING)
    if economical or text(policy / "energy_performance_preference") == "power":
        yield found("saving_processor")
    elif made.isdigit() and held.isdigit() and int(held) < HELD_BELOW * int(made):
        yield found("held_below", held=f"{int(held) / 1e6:.1f}", made=f"{int(made) / 1e6:.1f}")
    elif governor:
        yield found("full_speed")


def heat(machine: Machine) -> Iterator[Finding]:
    """Is it too hot to run at full speed?"""
    what = _mac_hot(machine) if machine.mac else _linux_hot(machine)
    if what:
        yield found("hot", what=what)


def _misfit(machine: Machine, stated: str, best: int) -> str:
    quota = cgroup.quota(machine.root)
    if not stated.isdecimal() or stated == "0":
        return "threads_unreadable"
    if int(stated) < best:
        return "threads_few"
    if quota is not None and int(stated) > quota:
        return "threads_above_limit"
    return "threads_hyper" if int(stated) <= len(cpus.allowed(machine.root)) else "threads_many"


def _counters(machine: Machine) -> tuple[float, float, int] | None:
    """CPU seconds of everything but this process, those that a hypervisor kept back, and how often
    heat slowed the cores."""
    busy = cpus.busy_cpu_s(machine.root)
    own = os.times()
    hot = cpus.slowdowns(machine.root) or 0
    return None if busy is None else (busy[0] - own.user - own.system, busy[1], hot)


def _best(machine: Machine) -> int:
    return cpus.threads(machine.root, machine.sysctl, {})


def _mac_hot(machine: Machine) -> str:
    # `notifyutil -g NAME` prints the name and a level, 0 for none
    pressure = re.search(r"\s(\d+)$", machine.run("/usr/bin/notifyutil", "-g", PRESSURE) or "")
    if pressure and pressure[1] != "0":
        return "macOS says that the Mac is too warm."
    stated = machine.run("/usr/bin/pmset", "-g", "therm") or ""
    limit = re.search(r"CPU_Speed_Limit\s*=\s*(\d+)", stated)
    if limit and int(limit[1]) < 100:
        return f"Heat holds the processor at {limit[1]} % of its speed."
    return ""


def _linux_hot(machine: Machine) -> str:
    thermal = machine.root / "sys/class/thermal"
    for trip in sorted(thermal.glob("thermal_zone*/trip_point_*_type")):
        now = text(trip.with_name("temp"))
        limit = text(trip.with_name(trip.name.replace("_type", "_temp")))
        if text(trip) in ("hot", "critical") and now.isdigit() and limit.isdigit():
            now_c, limit_c = int(now) / 1000, int(limit) / 1000
            if 0 < limit_c - NEAR_LIMIT_C < now_c:
                return f"A part of the machine is at {now_c:.0f} °C; its limit is {limit_c:.0f} °C."
    return ""
