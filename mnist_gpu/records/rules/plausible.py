"""Rules on what hardware can do."""

import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

from mnist_gpu.measure.readings import Hardware
from mnist_gpu.records.facts import facts, limits
from mnist_gpu.records.rules.registry import Finding, exceeding, first, rule, unequal
from mnist_gpu.records.rules.time import sampled_s
from mnist_gpu.records.run import column
from mnist_gpu.records.schema import Record

LIMIT = limits()


@rule
def plausible_speed(record: Record) -> Iterable[Finding]:
    """No epoch is faster than the hardware could do a quarter of the counted operations."""
    return _too_fast(record, "train_s", record.workload.n_train)


@rule
def evaluation_speed(record: Record) -> Iterable[Finding]:
    """An evaluation is one forward pass, a third of a step's arithmetic: no hardware does it
    faster than that."""
    return _too_fast(record, "eval_s", record.workload.n_test / 3)


def _too_fast(record: Record, field: str, images: float) -> Iterator[Finding]:
    peak = peak_flops_per_s(record.hardware, record.engine.precision)
    flops = _least_flops(record, images)
    broken = [flops > seconds * peak or seconds <= 0 for seconds in column(record, field)]
    least = f"{flops / peak:.6f} s at {peak / 1e12:g} TFLOP/s, records/data/peaks.yaml"
    return first(record, field, broken, f"faster than the hardware can compute ({least})")


def _least_flops(record: Record, images: float) -> float:
    """What must be computed at least of the counted operations on so many training images."""
    share: float = facts("peaks")["least_share_of_operations"]
    return share * images * record.workload.flops_per_sample


@rule
def processor_time(record: Record) -> Iterator[Finding]:
    """On a processor, the CPU time used is enough for the counted operations of all epochs, and
    no more than the CPUs could give."""
    percent, hardware, work = record.resources.cpu_percent, record.hardware, record.workload
    if percent is None:
        return
    cpus = cpu_bound(hardware)
    if percent > 100 * cpus * 1.1 + 5:
        yield "resources.cpu_percent", f"is {percent}, more than {cpus:g} CPUs can give"
    if percent < LIMIT.least_cpu_percent and record.resources.samples:
        yield "resources.cpu_percent", f"is {percent}: nothing runs without a processor"
    if hardware.accelerator != "cpu":
        return
    most = _most_of_threads(record)
    if percent > most:
        yield "hardware.threads", f"is {hardware.threads}, too few for {percent} % of a CPU"
    # under a quota of half a CPU no more than that is used
    least = LIMIT.least_busy_percent * min(1.0, hardware.cpu_quota or 1.0)
    if percent < least and not record.resources.warnings:
        yield "resources.cpu_percent", f"is {percent}: too little CPU time for any training"
    flops = len(record.epochs) * _least_flops(record, work.n_train + work.n_test / 3)
    # the peak is that of all CPUs the run could use; what it did not use computed nothing
    peak = peak_flops_per_s(hardware, record.engine.precision) / cpus
    if flops > percent / 100 * sampled_s(record) * peak:
        yield "resources.cpu_percent", f"is {percent}: too little CPU time for what was computed"


def peak_flops_per_s(hardware: Hardware, precision: str) -> float:
    """The most floating-point operations per second that the hardware could do, generously."""
    peaks = facts("peaks")
    if hardware.accelerator != "cpu":
        card = known_accelerator(hardware) or peaks["accelerators"][-1]
        return float(card[precision]) * max(1, hardware.accelerator_count) * 1e12
    cpus = min(cpu_bound(hardware), max(1, hardware.threads))
    peak: float = cpus * peaks["cpu_per_logical_cpu"][precision]
    if "apple" in f"{hardware.cpu_model} {hardware.accelerator_name}".lower():
        peak = max(peak, peaks["apple_cpu_floor"][precision])
    return peak * 1e12


def known_accelerator(hardware: Hardware) -> dict[str, Any] | None:
    """The entry of peaks.yaml for this accelerator; None where it is in no list."""
    # Metal has no name but that of the chip it is part of
    apple = hardware.accelerator == "mps" and "Apple" in (hardware.cpu_model or "")
    name = hardware.cpu_model if apple else hardware.accelerator_name
    named = facts("peaks")["accelerators"][:-1]
    return next((entry for entry in named if re.search(entry["match"], name or "", re.I)), None)


def cpu_bound(hardware: Hardware) -> float:
    """How many CPUs the run could use at most."""
    cpus: float = max(1, hardware.logical_cpus)
    return min(cpus, math.ceil(hardware.cpu_quota)) if hardware.cpu_quota else cpus


@rule
def plausible_hardware(record: Record) -> Iterator[Finding]:
    """Counts of processors, threads, accelerators and memory are those of one machine."""
    hardware = record.hardware
    yield from exceeding(hardware, "hardware", LIMIT.hardware)
    card = known_accelerator(hardware) if hardware.accelerator == "cuda" else None
    if card and (hardware.power_limit_w or 0) > 1.05 * card.get("watts", math.inf):
        reason = f"is {hardware.power_limit_w}, more than a {hardware.accelerator_name} can take"
        yield "hardware.power_limit_w", f"{reason} ({card['watts']})"
    # without a single CPU nothing computes
    cpus = dict.fromkeys(("threads", "cores"), max(1, hardware.logical_cpus))
    yield from exceeding(hardware, "hardware", cpus, "more than there are logical CPUs")
    for field in ("logical_cpus", "cores", "threads"):
        if getattr(hardware, field) == 0:
            yield f"hardware.{field}", "is 0"
    yield from _virtualised(record)
    if hardware.accelerator != "cpu" and hardware.accelerator_count == 0:
        yield "hardware.accelerator_count", f"is 0 for {hardware.accelerator}"


def _most_of_threads(record: Record) -> float:
    """The most CPU time, in percent of a CPU, where the threads stated are all that compute."""
    engine, work = record.engine, record.workload
    alone = engine.name in facts("engines")["own_threads"]
    # compilers, what the environment sets, and libraries of linear algebra that are not x86's bring
    # threads of their own
    others = engine.compile != "none" or engine.environment or work.devices * work.num_nodes > 1
    if not alone or others or record.hardware.cpu_family_model_stepping is None:
        return math.inf
    return 110.0 * max(1, record.hardware.threads) + float(LIMIT.beside_threads_percent)


def _virtualised(record: Record) -> Iterator[Finding]:
    """What is named as a virtual machine is one."""
    hardware, known = record.hardware, facts("engines")["virtual_machines"]
    signal = record.platform.signals.get("virtualisation")
    for named in (hardware.hypervisor, signal):
        if not hardware.virtualised and re.search(known, named or "", re.I):
            yield "hardware.virtualised", f"is false, but the record names {named}"
            return


@rule
def accelerator_agrees(record: Record) -> Iterator[Finding]:
    """What reads, drives and names the accelerator is of the same kind as the accelerator."""
    hardware, known, engine = record.hardware, facts("engines"), record.engine.name
    kind = hardware.accelerator
    computes = known["accelerators"].get(kind)
    if computes is None:
        yield "hardware.accelerator", f"{kind} is none that an engine computes on"
    elif engine in known["engines"] and engine not in computes:
        yield "hardware.accelerator", f"{engine} does not compute on {kind}"
    if kind != "cuda":
        for part, fields in LIMIT.nvidia_alone.items():
            for field in fields:
                if getattr(getattr(record, part), field) is not None:
                    yield f"{part}.{field}", f"is that of an NVIDIA GPU, not of {kind}"
    precision, able = record.engine.precision, known["precisions"].get(kind)
    if able is not None and precision not in able:
        yield "engine.precision", f"{precision} is none that an engine computes in on {kind}"
    own = hardware.accelerator_name or ""
    if precision == "tf32" and re.search(known["without_tf32"], own):
        yield "engine.precision", f"is tf32, which {own} has not"
    yield from _named(record)
    yield from _counted(record)


def _named(record: Record) -> Iterator[Finding]:
    """The names of accelerator, processor and system can stand together."""
    hardware, system = record.hardware, record.software.os
    kind, own = hardware.accelerator, hardware.accelerator_name
    name = f"{own} {hardware.cpu_model}"
    if kind == "cpu" and own not in (None, hardware.cpu_model):
        yield "hardware.accelerator_name", f"is {own}, but the processor is {hardware.cpu_model}"
    yield from _processor(record)
    if kind == "cuda" and re.search(r"apple|\bmps\b", name, re.I):
        yield "hardware.accelerator_name", f"{name} has no CUDA"
    if kind == "mps" and "Apple" not in name:
        yield "hardware.cpu_model", f"{hardware.cpu_model} has no Metal"
    if kind == "mps" and not re.search("apple|mps", own or "mps", re.I):
        yield "hardware.accelerator_name", f"{own} has no Metal"
    on_mac = system.startswith("macOS")
    if kind in ("cuda", "mps") and on_mac is not (kind == "mps"):
        yield "software.os", f"is {system}, which has no {kind}"


def _processor(record: Record) -> Iterator[Finding]:
    """Its name, family and vector set, and the system on it, are those of one processor."""
    hardware, known = record.hardware, facts("processors")
    model, family = hardware.cpu_model or "", hardware.cpu_family_model_stepping
    if family is not None and not re.fullmatch(known["family"], family):
        yield "hardware.cpu_family_model_stepping", f"{family:.60} are no three numbers"
    for maker, of_family in known["makers"].items():
        if family and re.search(maker, model) and not re.match(of_family, family):
            yield "hardware.cpu_family_model_stepping", f"{family:.60} is none of {model}"
    if hardware.isa not in (None, *known["vector_sets"]):
        yield "hardware.isa", f"{hardware.isa} is no vector set that a run reads"
    system = record.software.os
    if re.search(known["of_macs"], model) and not system.startswith(("macOS", "Linux")):
        yield "software.os", f"is {system}, which does not run on {model}"


def _counted(record: Record) -> Iterator[Finding]:
    """There are as many accelerators as devices that trained."""
    hardware, devices = record.hardware, record.workload.devices * record.workload.num_nodes
    if hardware.accelerator != "cpu":
        stated = [("hardware.accelerator_count", hardware.accelerator_count, devices)]
        yield from unequal(stated, "the devices that trained are")


@rule
def plausible_resources(record: Record) -> Iterator[Finding]:
    """No use is more than the machine has."""
    hardware = record.hardware
    cpus, cards = hardware.logical_cpus, max(1, hardware.accelerator_count)
    most_w = _most_accelerator_w(hardware)
    power_w = most_w * cards + LIMIT.most_cpu_w * cpus
    limits = {
        "cpu_percent": 100 * cpus * LIMIT.reading_slack,
        "foreign_cpu_percent": 100 * cpus * LIMIT.reading_slack,
        "gpu_percent": 100 * cards * 1.001,
        "gpu_power_w": most_w * cards,
        "energy_j": power_w * record.timing.total_s,
        "rss_peak_mib": (hardware.ram_gib or math.inf) * 1024 * LIMIT.reading_slack,
        "gpu_memory_peak_mib": LIMIT.most_gpu_memory_mib * cards,
    }
    yield from exceeding(record.resources, "resources", limits, "more than this machine can have")
    for field, least in LIMIT.least_readings.items():
        value = getattr(record.resources, field)
        if value is not None and value < least:
            yield f"resources.{field}", f"is {value}, less than any training takes ({least})"
    if record.resources.energy_j is not None:
        yield from _energy(record, record.resources.energy_j, cards)


def _most_accelerator_w(hardware: Hardware) -> float:
    """The highest mean power of one accelerator, generously."""
    card = known_accelerator(hardware) or {}
    if "watts" not in card:
        # a laptop's limit changes by the minute, and no laptop's card is among the known
        return float(LIMIT.most_accelerator_w)
    limits_w = (card["watts"], hardware.power_limit_w or math.inf)
    return float(LIMIT.power_slack * min(limits_w))


def _energy(record: Record, energy_j: float, cards: int) -> Iterator[Finding]:
    source, known = record.resources.energy_source, facts("engines")["energy_sources"]
    if source not in known:
        yield "resources.energy_source", f"is {source}, none of {', '.join(known)}"
    elif record.hardware.accelerator not in known[source]:
        yield "resources.energy_source", f"does not count {record.hardware.accelerator}"
    measured_s = record.timing.train_s + record.timing.eval_s
    if energy_j < LIMIT.least_w * cards * measured_s:
        yield "resources.energy_j", f"is {energy_j}, too little for {measured_s:.0f} s"
    power_w, least = record.resources.gpu_power_w, LIMIT.least_power_share
    if power_w and cards == 1 and record.resources.samples >= LIMIT.power_from_samples:
        computed_j = power_w * sampled_s(record)
        if not least * computed_j <= energy_j <= computed_j / least:
            reason = f"is {energy_j}, but {power_w} W for {sampled_s(record):.0f} s are"
            yield "resources.energy_j", f"{reason} {computed_j:.0f} J"


@rule
def disturbances_warned(record: Record) -> Iterator[Finding]:
    """What disturbed a run stands among its warnings: it is doubted for them."""
    used, cpus = record.resources, max(1, record.hardware.logical_cpus)
    # what the sampler warns of in each segment, and a little for rounding
    segments = record.timing.segments
    noticed = {
        "foreign_cpu_percent": 1.05 * max(10, 2 * cpus),
        "suspended_s": 1.05 * segments,
        "throttled_s": 0.0105 * (sampled_s(record) + LIMIT.sampler_edge_s * segments),
    }
    if not used.warnings:
        yield from exceeding(used, "resources", noticed, "and resources.warnings say nothing of it")
