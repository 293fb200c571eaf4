"""Efficiency against the number of devices: time on 1 / (N x time on N), of one configuration."""

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from mnist_gpu.report.rows import Row
from mnist_gpu.report.statistics import Ratio, ratio

# the deviations that come with more devices; a batch of 64 on each makes the global batch larger
COMES_WITH_DEVICES = re.compile(r"(devices|num_nodes|scaling)\b")
COMES_WITH_WEAK = re.compile(r"(devices|num_nodes|scaling|batch_size)\b")


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


def scaling(rows: Sequence[Row]) -> list[Scaling]:
    """Every row on several devices for which there is one on a single device."""
    single: dict[Hashable, Row] = {}
    for row in rows:
        if row.key.devices == 1:
            best = single.setdefault(_alike(row), row)
            if row.train_s.median < best.train_s.median:
                single[_alike(row)] = row
    found = [
        _scaling(row, base)
        for row in rows
        if row.key.devices > 1 and (base := single.get(_alike(row)))
    ]
    return sorted(found, key=lambda entry: (entry.base.ref, entry.weak, entry.devices))


def _scaling(row: Row, base: Row) -> Scaling:
    devices = row.key.devices
    found = ratio(base.group.train_s, row.group.train_s)
    interval = found.interval and (found.interval[0] / devices, found.interval[1] / devices)
    efficiency = Ratio(found.value / devices, interval, found.n)
    return Scaling(row, base, devices, row.key.scaling == "weak", efficiency)


def _alike(row: Row) -> Hashable:
    """What a row on several devices shares with its row on one."""
    key, machine = row.key, row.key.machine
    weak = key.scaling == "weak"
    with_devices = COMES_WITH_WEAK if weak else COMES_WITH_DEVICES
    return (
        # processes share the threads of a CPU, so their number is no mark of the machine
        machine.cpu_model if machine.accelerator == "cpu" else machine.accelerator_name,
        tuple(text for text in key.deviations if not with_devices.match(text)),
        key.batch_size // key.devices if weak else key.batch_size,
        key.without(
            "category", "machine", "devices", "num_nodes", "scaling", "deviations", "batch_size"
        ),
    )
