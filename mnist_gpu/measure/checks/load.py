"""Who else uses the processor at this moment, and whether it can keep its speed."""

import os
from collections.abc import Iterator

from mnist_gpu.measure import cpus, load
from mnist_gpu.measure.checks.finding import Finding, ok, warn
from mnist_gpu.measure.checks.machine import Machine

LOOK_S = 0.5
# in half a second, what a desktop does at rest may reach a tenth of a CPU
BUSY_CPUS = 0.25
BUSY_SHARE = 0.05
STOLEN_SHARE = 0.02


def cpu_load(machine: Machine) -> Iterator[Finding]:
    """Watch the CPUs for half a second."""
    before, own_before = load.busy_cpu_s(machine.root), _own_s()
    hot_before = load.slowdowns(machine.root)
    machine.pause(LOOK_S)
    after, hot = load.busy_cpu_s(machine.root), load.slowdowns(machine.root)
    if before is None or after is None:
        return
    n_cpus = len(cpus.allowed(machine.root))
    others = max(0.0, after[0] - before[0] - (_own_s() - own_before)) / LOOK_S
    kept_back = (after[1] - before[1]) / LOOK_S
    quota = cpus.quota(machine.root)
    # where a limit counts time, others may be busy on CPUs that this program does not need
    free = n_cpus - (quota or 0) if quota is not None else 0
    if others - free > max(BUSY_CPUS, BUSY_SHARE * n_cpus):
        yield warn(
            "Load on the CPUs",
            f"Other programs use {others:.1f} of the {n_cpus} CPUs here at this moment.",
            "A run is slower, and its time says little about the machine.",
            "End them (top lists them), or wait until they are done.",
        )
    else:
        yield ok("Load on the CPUs", "Nothing else uses them much.")
    if kept_back > STOLEN_SHARE * n_cpus:
        yield warn(
            "Share of the CPUs",
            f"The host of this virtual machine keeps back {kept_back / n_cpus:.0%} of its CPUs.",
            "A run is slower, by more or less from hour to hour.",
            "Run at another hour or on a machine with CPUs of its own.",
        )
    if hot is not None and hot_before is not None and hot > hot_before:
        yield warn(
            "Heat",
            "Heat slowed the processor down while it was watched.",
            "A run is slower, more and more as it goes on.",
            "Let the machine cool down, let air reach it, and end other work.",
        )


def _own_s() -> float:
    times = os.times()
    return times.user + times.system
