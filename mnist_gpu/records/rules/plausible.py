"""Rules on what hardware can do."""

import math
import re
from collections.abc import Iterator

from mnist_gpu.records.facts import facts
from mnist_gpu.records.rules.registry import Finding, Subject, rule
from mnist_gpu.records.schema import Hardware

MOST = {
    "logical_cpus": 8192,
    "cores": 8192,
    "threads": 8192,
    "accelerator_count": 1024,
    "ram_gib": 262_144,
    "cpu_quota": 8192,
    "power_limit_w": 5000,
}
# a reading and the time it belongs to are not taken at one instant
SLACK = 1.25
MOST_WATTS_PER_ACCELERATOR = 3000
MOST_WATTS_PER_CPU = 150


@rule
def plausible_speed(subject: Subject) -> Iterator[Finding]:
    """See rules.yaml."""
    record = subject.record
    work = record.workload
    counted = work.n_train * work.flops_per_sample
    flops = facts("peaks")["least_share_of_operations"] * counted
    peak = peak_flops_per_s(record.hardware, record.engine.precision)
    for position, row in enumerate(record.epochs):
        if flops > row.train_s * peak:
            yield (
                f"epochs.{position}.train_s",
                f"{row.train_s} s is faster than the hardware can compute"
                f" ({flops / peak:.6f} s at {peak / 1e12:g} TFLOP/s, records/data/peaks.yaml)",
            )
            return


def peak_flops_per_s(hardware: Hardware, precision: str) -> float:
    """The most floating-point operations per second that the hardware could do, generously."""
    peaks = facts("peaks")
    cpus: float = max(1, hardware.logical_cpus)
    if hardware.cpu_quota:
        cpus = min(cpus, math.ceil(hardware.cpu_quota))
    processor = cpus * peaks["cpu_per_logical_cpu"][precision]
    if re.search("apple", f"{hardware.cpu_model} {hardware.accelerator_name}", re.I):
        processor = max(processor, peaks["apple_cpu_floor"][precision])
    if hardware.accelerator == "cpu":
        return processor * 1e12
    for entry in peaks["accelerators"]:
        if re.search(entry["match"], hardware.accelerator_name or "", re.I):
            return float(entry[precision]) * max(1, hardware.accelerator_count) * 1e12
    raise AssertionError("peaks.yaml ends with an entry for all others")


@rule
def plausible_hardware(subject: Subject) -> Iterator[Finding]:
    """See rules.yaml."""
    record = subject.record
    hardware = record.hardware
    for field, most in MOST.items():
        value = getattr(hardware, field)
        if value is not None and value > most:
            yield f"hardware.{field}", f"is {value}, more than any machine has ({most})"
    if hardware.logical_cpus == 0:
        yield "hardware.logical_cpus", "is 0"
    if hardware.accelerator != "cpu" and hardware.accelerator_count == 0:
        yield "hardware.accelerator_count", f"is 0 for {hardware.accelerator}"


@rule
def plausible_resources(subject: Subject) -> Iterator[Finding]:
    """See rules.yaml."""
    record = subject.record
    used, hardware, total_s = record.resources, record.hardware, record.timing.total_s
    cpus, cards = hardware.logical_cpus, max(1, hardware.accelerator_count)
    power_w = MOST_WATTS_PER_ACCELERATOR * cards + MOST_WATTS_PER_CPU * cpus
    limits = {
        "cpu_percent": 100 * cpus * SLACK,
        "foreign_cpu_percent": 100 * cpus * SLACK,
        "gpu_percent": 100 * cards * 1.001,
        "gpu_power_w": MOST_WATTS_PER_ACCELERATOR * cards,
        "energy_j": power_w * total_s,
    }
    if hardware.ram_gib:
        limits["rss_peak_mib"] = hardware.ram_gib * 1024 * SLACK
    for field, most in limits.items():
        value = getattr(used, field)
        if value is not None and value > most:
            yield f"resources.{field}", f"is {value}, more than this machine can have ({most:g})"
    if used.energy_j is not None and not used.energy_source:
        yield "resources.energy_source", "is missing although there is an energy"
