"""Which runs belong together: those of one platform, engine, configuration and machine."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

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
        named = _those_of(cls.__match_args__, vars(record.hardware))
        return cls(**{**named, "ram_gib": _ram_class(named["ram_gib"])})

    @property
    def host(self) -> Hashable:
        """What runs on one computer share, whatever accelerator and threads they used."""
        processor = (self.cpu_family_model_stepping, self.cpu_model, self.cores)
        return (*processor, self.ram_gib, self.virtualised)


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
        worked_out = {
            "category": category(record),
            "platform": record.platform.name,
            "rehearsal": record.platform.rehearsal,
            "machine": Machine.of(record),
            "engine": engine.name,
            "engine_version": engine.version,
            # a patch release seldom changes speed, a minor one may
            "framework": f"{engine.framework} {_minor(engine.framework_version)}",
            "backend": _minor(engine.backend),
            "switches": _named(engine.switches),
            "kernels": tuple(sorted(engine.kernels)),
            "environment": _named(engine.environment),
            "deviations": tuple(sorted(workload.deviations)),
            "resumed": record.timing.segments > 1,
        }
        named = _those_of(cls.__match_args__, {**vars(engine), **vars(workload)})
        return cls(**{**named, **worked_out})

    def without(self, *names: str) -> Hashable:
        """Equal for keys that differ in `names` alone."""
        return tuple(value for name, value in vars(self).items() if name not in names)

    @property
    def stock(self) -> Hashable:
        """Equal for a row and what switches and kernels make of it."""
        return self.without("division", "switches", "kernels", "environment", "compile")


def category(record: Record) -> str:
    """The table in which a completed run stands."""
    # the first that applies: what was trained says more than where
    if record.workload.dataset != "mnist":
        return "synthetic"
    if not record.workload.standard:
        return "deviating"
    if not record.platform.verified:
        return "unverified"
    return "standard" if record.timing.segments == 1 else "resumed"


def refs(keys: Sequence[Key]) -> list[str]:
    """A lasting name for each, such as `m1-lightning-3f9c2a`; other records never change it.

    Where a few digits of the digest are another's, both are written out.
    """
    digests = []
    for key in keys:
        plain = {**vars(key), "machine": vars(key.machine)}
        # not `hash`: Python salts it anew in every process, and links to rows are to last
        digests.append(hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest())
    # among some thousand rows six digits meet by chance
    times = Counter(digest[:HASH_DIGITS] for digest in digests)
    return [
        f"{_slug(key.platform)}-{_slug(key.engine)}-"
        f"{digest[:HASH_DIGITS] if times[digest[:HASH_DIGITS]] == 1 else digest}"
        for key, digest in zip(keys, digests, strict=True)
    ]


def _those_of(names: Iterable[str], values: dict[str, Any]) -> dict[str, Any]:
    """Those of the values that have one of these names."""
    return {name: values[name] for name in names if name in values}


def _minor(version: str) -> str:
    """`2.11.0+cu130` as `2.11`; what is before the version stays."""
    return ".".join(version.split(".")[:2])


def _slug(name: str) -> str:
    # in a link and in HTML's `id` as it is
    return "".join(c if c.isalnum() else "-" for c in name.lower())[:20]


def _named(values: dict[str, bool | int | str] | dict[str, str]) -> tuple[str, ...]:
    return tuple(
        f"{name}={str(value).lower() if isinstance(value, bool) else value}"
        for name, value in sorted(values.items())
    )


@lru_cache
def _ram_class(gib: float | None) -> float | None:
    if not gib:
        return None
    # memory is sold in powers of two and in one and a half of them
    base = 2.0 ** math.floor(math.log2(gib))
    return min((base, 1.5 * base, 2 * base), key=lambda size: abs(math.log(size / gib)))
