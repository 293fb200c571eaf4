"""Which runs belong together: those of one platform, engine, configuration and machine."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from statistics import median

from mnist_gpu.records.run import Run
from mnist_gpu.records.schema import Record

# in the order of the tables
CATEGORIES = {
    "standard": "Standard runs",
    "deviating": "Runs that deviate from the protocol",
    "synthetic": "Runs on drawn or custom data",
    "unverified": "Runs whose platform could not be verified",
    "resumed": "Runs that were interrupted and resumed",
}
HASH_DIGITS = 6


@dataclass(frozen=True)
class Machine:
    """A hardware identity: what a record tells of the machine, so that two kinds differ.

    Attributes:
        ram_gib: the nearest of 1, 1.5, 2, 3, 4, 6, 8 ... GiB; a system keeps some for itself.
    """

    cpu_family_model_stepping: str | None
    cpu_model: str | None
    threads: int
    cores: int | None
    ram_gib: float | None
    virtualised: bool
    accelerator: str
    accelerator_name: str | None

    @classmethod
    def of(cls, record: Record) -> "Machine":
        """The machine of a record."""
        hardware = record.hardware
        return cls(
            hardware.cpu_family_model_stepping,
            hardware.cpu_model,
            hardware.threads,
            hardware.cores,
            _ram_class(hardware.ram_gib),
            hardware.virtualised,
            hardware.accelerator,
            hardware.accelerator_name,
        )

    @property
    def host(self) -> Hashable:
        """Without the accelerator and the threads: what runs on one computer share."""
        return (
            self.cpu_family_model_stepping,
            self.cpu_model,
            self.cores,
            self.ram_gib,
            self.virtualised,
        )


@dataclass(frozen=True)
class Key:
    """All that the runs of one row share. A row's name is a digest of it."""

    category: str
    platform: str
    rehearsal: bool
    machine: Machine
    engine: str
    engine_version: int
    framework: str
    backend: str
    division: str
    switches: tuple[str, ...]
    kernels: tuple[str, ...]
    environment: tuple[str, ...]
    compile: str
    precision: str
    model: str
    dataset: str
    dataset_sha256: str
    epochs: int
    batch_size: int
    devices: int
    num_nodes: int
    scaling: str
    deviations: tuple[str, ...]
    resumed: bool

    @classmethod
    def of(cls, record: Record) -> "Key":
        """The row to which a record belongs."""
        engine, workload = record.engine, record.workload
        return cls(
            category=category(record),
            platform=record.platform.name,
            rehearsal=record.platform.rehearsal,
            machine=Machine.of(record),
            engine=engine.name,
            engine_version=engine.version,
            framework=f"{engine.framework} {'.'.join(engine.framework_version.split('.')[:2])}",
            backend=engine.backend,
            division=engine.division,
            switches=_named(engine.switches),
            kernels=tuple(sorted(engine.kernels)),
            environment=_named(engine.environment),
            compile=engine.compile,
            precision=engine.precision,
            model=workload.model,
            dataset=workload.dataset,
            dataset_sha256=workload.dataset_sha256,
            epochs=workload.epochs,
            batch_size=workload.batch_size,
            devices=workload.devices,
            num_nodes=workload.num_nodes,
            scaling=workload.scaling,
            deviations=tuple(sorted(workload.deviations)),
            resumed=record.timing.segments > 1,
        )

    def without(self, *fields: str) -> Hashable:
        """Equal for keys that differ in `fields` alone."""
        return tuple(value for name, value in vars(self).items() if name not in fields)

    @property
    def stock(self) -> Hashable:
        """Equal for a row and what switches and kernels make of it."""
        return self.without("division", "switches", "kernels", "environment", "compile")


@dataclass
class Group:
    """The completed runs of one key, the oldest first.

    Attributes:
        ref: its name in tables and links, such as `m1-lightning-3f9c2a`; other records never
            change it.
        seeds: of these runs and of those that did not complete.
    """

    ref: str
    key: Key
    runs: list[Run]
    seeds: set[int]

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
        return self.key.machine.accelerator == "cpu"


def group_runs(runs: Iterable[Run]) -> list[Group]:
    """Put completed runs into groups, those of the standard first, then the fastest first."""
    found: dict[Key, list[Run]] = {}
    seeds: dict[Key, set[int]] = {}
    for run in sorted(runs, key=lambda run: (run.record.created_at, run.record.run_id)):
        key = Key.of(run.record)
        seeds.setdefault(key, set()).add(run.record.workload.seed)
        if run.record.status == "completed":
            found.setdefault(key, []).append(run)
    order = list(CATEGORIES)

    def place(key: Key) -> tuple[int, float]:
        return order.index(key.category), median(run.record.timing.train_s for run in found[key])

    keys = sorted(found, key=place)
    return [
        Group(ref, key, found[key], seeds[key]) for ref, key in zip(_refs(keys), keys, strict=True)
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


def _refs(keys: list[Key]) -> list[str]:
    """A name for each; where a few digits of the digest are another's, both are written out."""
    digests = [
        hashlib.sha256(json.dumps(asdict(key), sort_keys=True).encode()).hexdigest() for key in keys
    ]
    short = [digest[:HASH_DIGITS] for digest in digests]
    times = Counter(short)
    return [
        f"{_slug(key.platform)}-{_slug(key.engine)}-{few if times[few] == 1 else digest}"
        for key, digest, few in zip(keys, digests, short, strict=True)
    ]


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name.lower())[:20]


def _named(values: dict[str, bool | int | str] | dict[str, str]) -> tuple[str, ...]:
    return tuple(
        f"{name}={str(value).lower() if isinstance(value, bool) else value}"
        for name, value in sorted(values.items())
    )


def _ram_class(gib: float | None) -> float | None:
    if not gib:
        return None
    base = 2.0 ** math.floor(math.log2(gib))
    return min((base, 1.5 * base, 2 * base), key=lambda size: abs(math.log(size / gib)))
