"""Rules on what hardware can do."""

import math
import re
from collections.abc import Iterator
from typing import Any

from mnist_gpu.records.facts import facts
from mnist_gpu.records.rules.registry import Finding, Subject, rule
from mnist_gpu.records.schema import Hardware, Record

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
LEAST_WATTS = 0.5


@rule
def plausible_speed(subject: Subject) -> Iterator[Finding]:
    """No epoch is faster than the hardware could do a quarter of the counted operations."""
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
    processor = (
        min(cpu_bound(hardware), max(1, hardware.threads)) * peaks["cpu_per_logical_cpu"][precision]
    )
    if re.search("apple", f"{hardware.cpu_model} {hardware.accelerator_name}", re.I):
        processor = max(processor, peaks["apple_cpu_floor"][precision])
    if hardware.accelerator == "cpu":
        return processor * 1e12
    per_card = known_accelerator(hardware) or peaks["accelerators"][-1]
    return float(per_card[precision]) * max(1, hardware.accelerator_count) * 1e12


def known_accelerator(hardware: Hardware) -> dict[str, Any] | None:
    """The entry of peaks.yaml for this accelerator; None where it is in no list."""
    # Metal has no name but that of the chip it is part of
    apple = hardware.accelerator in ("mps", "gpu") and "Apple" in (hardware.cpu_model or "")
    name = hardware.cpu_model if apple else hardware.accelerator_name
    named = facts("peaks")["accelerators"][:-1]
    return next((entry for entry in named if re.search(entry["match"], name or "", re.I)), None)


def cpu_bound(hardware: Hardware) -> float:
    """How many CPUs the run could use at most."""
    cpus: float = max(1, hardware.logical_cpus)
    return min(cpus, math.ceil(hardware.cpu_quota)) if hardware.cpu_quota else cpus


@rule
def plausible_hardware(subject: Subject) -> Iterator[Finding]:
    """Counts of processors, threads, accelerators and memory are those of one machine."""
    record = subject.record
    hardware = record.hardware
    for field, most in MOST.items():
        value = getattr(hardware, field)
        if value is not None and value > most:
            yield f"hardware.{field}", f"is {value}, more than any machine has ({most})"
    if hardware.threads > max(1, hardware.logical_cpus):
        yield "hardware.threads", f"is {hardware.threads} on {hardware.logical_cpus} logical CPUs"
    if hardware.cores and hardware.cores > hardware.logical_cpus:
        yield "hardware.cores", f"is {hardware.cores} of {hardware.logical_cpus} logical CPUs"
    if hardware.logical_cpus == 0:
        yield "hardware.logical_cpus", "is 0"
    if hardware.accelerator != "cpu" and hardware.accelerator_count == 0:
        yield "hardware.accelerator_count", f"is 0 for {hardware.accelerator}"


@rule
def accelerator_agrees(subject: Subject) -> Iterator[Finding]:
    """What reads, drives and names the accelerator is of the same kind as the accelerator."""
    record = subject.record
    hardware, used = record.hardware, record.resources
    computes = facts("engines")["accelerators"].get(hardware.accelerator)
    if computes is None:
        yield "hardware.accelerator", f"{hardware.accelerator} is none that an engine computes on"
    elif record.engine.name in facts("engines")["engines"] and record.engine.name not in computes:
        reason = f"{record.engine.name} does not compute on {hardware.accelerator}"
        yield "hardware.accelerator", reason
    if hardware.accelerator != "cuda":
        for field in ("gpu_percent", "gpu_power_w", "gpu_memory_peak_mib"):
            if getattr(used, field) is not None:
                yield (
                    f"resources.{field}",
                    f"is a reading of an NVIDIA GPU, not {hardware.accelerator}",
                )
        for field in ("driver", "power_limit_w"):
            if getattr(hardware, field) is not None:
                yield f"hardware.{field}", f"is that of an NVIDIA GPU, not {hardware.accelerator}"
    name = f"{hardware.accelerator_name} {hardware.cpu_model}"
    if hardware.accelerator == "cuda" and re.search(r"apple|\bmps\b", name, re.I):
        yield "hardware.accelerator_name", f"{name} has no CUDA"
    if hardware.accelerator == "mps" and "Apple" not in name:
        yield "hardware.cpu_model", f"{hardware.cpu_model} has no Metal"


@rule
def plausible_resources(subject: Subject) -> Iterator[Finding]:
    """No use is more than the machine has."""
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
    if used.energy_j is not None:
        yield from _energy(record, cards)


def _energy(record: Record, cards: int) -> Iterator[Finding]:
    used = record.resources
    known = facts("engines")["energy_sources"]
    if not used.energy_source:
        yield "resources.energy_source", "is missing although there is an energy"
    elif used.energy_source not in known:
        yield "resources.energy_source", f"is none of {', '.join(known)}"
    elif record.hardware.accelerator not in known[used.energy_source]:
        yield "resources.energy_source", f"does not count {record.hardware.accelerator}"
    measured_s = record.timing.train_s + record.timing.eval_s
    if (used.energy_j or 0) < LEAST_WATTS * cards * measured_s:
        yield "resources.energy_j", f"is {used.energy_j}, too little for {measured_s:.0f} s"
