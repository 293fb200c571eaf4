"""Which runs belong together: those of one platform and configuration, over seeds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from mnist_gpu.records.schema import Record
from mnist_gpu.report.run import Run

# in the order of the tables
CATEGORIES = {
    "standard": "Standard runs",
    "deviating": "Runs that deviate from the protocol",
    "synthetic": "Runs on drawn or custom data",
    "unverified": "Runs whose platform could not be verified",
    "resumed": "Runs that were interrupted and resumed",
}


@dataclass(frozen=True)
class Configuration:
    """What runs must share to be one row. `machine` tells two of one platform apart."""

    category: str
    platform: str
    machine: str
    engine: str
    backend: str
    precision: str
    compile: str
    model: str
    dataset: str
    deviations: tuple[str, ...]


@dataclass
class Group:
    """The completed runs of one configuration, the oldest first.

    Attributes:
        ref: its name in tables and links: `R1`, `R2`, ...
    """

    ref: str
    configuration: Configuration
    runs: list[Run]

    @property
    def category(self) -> str:
        """One of `CATEGORIES`."""
        return self.configuration.category

    @property
    def newest(self) -> Record:
        """The record of the newest run."""
        return self.runs[-1].record

    @cached_property
    def train_s(self) -> list[float]:
        """The training time of each run."""
        return [run.record.timing.train_s for run in self.runs]

    @cached_property
    def total_s(self) -> list[float]:
        """The whole time of each run."""
        return [run.record.timing.total_s for run in self.runs]

    @cached_property
    def accuracy(self) -> list[float]:
        """The test accuracy of each run, 0 to 1."""
        return [run.test_accuracy[-1] for run in self.runs]

    @property
    def on_cpu(self) -> bool:
        """Whether no accelerator took part."""
        return self.newest.hardware.accelerator == "cpu"


def group_runs(runs: Iterable[Run]) -> list[Group]:
    """Put completed runs into groups, those of the standard first, then the fastest first."""
    found: dict[Configuration, list[Run]] = {}
    for run in sorted(runs, key=lambda run: (run.record.created_at, run.record.run_id)):
        if run.record.status == "completed":
            found.setdefault(_configuration(run.record), []).append(run)
    order = list(CATEGORIES)
    ordered = sorted(
        found.items(),
        key=lambda item: (
            order.index(item[0].category),
            sum(run.record.timing.train_s for run in item[1]) / len(item[1]),
        ),
    )
    return [
        Group(f"R{number}", configuration, members)
        for number, (configuration, members) in enumerate(ordered, start=1)
    ]


def category(record: Record) -> str:
    """The table in which a completed run stands."""
    if record.workload.dataset != "mnist":
        return "synthetic"
    if not record.workload.standard:
        return "deviating"
    if not record.platform.verified:
        return "unverified"
    return "standard" if record.timing.segments == 1 else "resumed"


def machine(record: Record) -> str:
    """What it ran on, in a few words: the accelerator, else the processor and its threads."""
    hardware = record.hardware
    if hardware.accelerator != "cpu":
        name = hardware.accelerator_name or hardware.accelerator
        count = hardware.accelerator_count
        return f"{count} x {name}" if count > 1 else name
    return f"{hardware.cpu_model or 'CPU'}, {_plural(hardware.threads, 'thread')}"


def same_machine(groups: Sequence[Group]) -> dict[tuple[str, str], list[Group]]:
    """Groups by (platform, machine)."""
    found: dict[tuple[str, str], list[Group]] = {}
    for group in groups:
        key = (group.configuration.platform, group.configuration.machine)
        found.setdefault(key, []).append(group)
    return found


def _configuration(record: Record) -> Configuration:
    return Configuration(
        category=category(record),
        platform=record.platform.name,
        machine=machine(record),
        engine=record.engine.name,
        backend=record.engine.backend,
        precision=record.engine.precision,
        compile=record.engine.compile,
        model=record.workload.model,
        dataset=record.workload.dataset,
        deviations=tuple(sorted(record.workload.deviations)),
    )


def _plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
