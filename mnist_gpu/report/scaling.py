"""Efficiency against the number of devices: time on 1 / (N x time on N), of one configuration."""

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from mnist_gpu.records.schema import Record
from mnist_gpu.report.rows import Row
from mnist_gpu.report.statistics import Ratio, ratio

# the deviations that come with more devices; a batch of 64 on each makes the global batch larger
DEVICES = re.compile(r"devices (\d+)\b")
COMES_WITH_DEVICES = re.compile(r"(devices|num_nodes|scaling)\b")
WEAK = re.compile(r"scaling weak\b")
BATCH = re.compile(r"batch_size\b")


@dataclass(frozen=True)
class Scaling:
    """One row on several devices beside the fastest on one.

    Attributes:
        devices: how many shared the training.
        weak: whether each kept a whole batch of 64.
        efficiency: time on 1 / (N x time on N); 1 is perfect.
    """

    row: Row
    base: Row
    devices: int
    weak: bool
    efficiency: Ratio


def device_count(record: Record) -> int:
    """How many devices trained together; more than one is always a declared deviation."""
    found = [match for text in record.workload.deviations if (match := DEVICES.match(text))]
    return int(found[0].group(1)) if found else 1


def scaling(rows: Sequence[Row]) -> list[Scaling]:
    """Every row on several devices for which there is one on a single device."""
    single: dict[Hashable, Row] = {}
    several: list[Row] = []
    for row in rows:
        if device_count(row.group.newest) > 1:
            several.append(row)
            continue
        best = single.setdefault(_alike(row), row)
        if row.train_s.median < best.train_s.median:
            single[_alike(row)] = row
    pairs = [(row, single[key]) for row in several if (key := _alike(row)) in single]
    found = [_scaling(row, base) for row, base in pairs]
    return sorted(found, key=lambda entry: (int(entry.base.ref[1:]), entry.weak, entry.devices))


def _scaling(row: Row, base: Row) -> Scaling:
    devices = device_count(row.group.newest)
    found = ratio(base.group.train_s, row.group.train_s)
    interval = found.interval and (found.interval[0] / devices, found.interval[1] / devices)
    efficiency = Ratio(found.value / devices, interval, None, found.n)
    return Scaling(row, base, devices, _is_weak(row.group.newest), efficiency)


def _alike(row: Row) -> Hashable:
    """What a row on several devices shares with its row on one."""
    configuration, record = row.group.configuration, row.group.newest
    weak = _is_weak(record)
    others = [
        text
        for text in configuration.deviations
        if not COMES_WITH_DEVICES.match(text) and not (weak and BATCH.match(text))
    ]
    hardware = record.hardware
    on_cpu = hardware.accelerator == "cpu"
    return (
        configuration.platform,
        # processes share the threads of a CPU, so their number is no mark of the machine
        hardware.cpu_model if on_cpu else hardware.accelerator_name or hardware.accelerator,
        configuration.engine,
        configuration.backend,
        configuration.precision,
        configuration.compile,
        configuration.model,
        record.workload.dataset_sha256,
        record.workload.epochs,
        tuple(others),
    )


def _is_weak(record: Record) -> bool:
    return any(WEAK.match(text) for text in record.workload.deviations)
