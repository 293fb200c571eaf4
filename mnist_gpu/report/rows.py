"""One row of the report: a group of runs and all that is said of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from mnist_gpu.report.cost import Cost
from mnist_gpu.report.gate import Gate
from mnist_gpu.report.groups import Group, Key
from mnist_gpu.report.numbers import counted, seconds
from mnist_gpu.report.statistics import Sample

COMMIT_DIGITS = 7
MOST_NAMED = 4


@dataclass(frozen=True)
class Reached:
    """How fast an accuracy was reached: median training seconds, in `n` of `of` runs.

    A run that never got there counts as slower than any; None where that leaves no median.
    """

    train_s: float | None
    n: int
    of: int


@dataclass(frozen=True)
class Row:
    """A group with its statistics.

    Attributes:
        label: the platform's, for people.
        doubts: why it is not to be compared; empty for most rows.
        notes: what else stands beside it.
        fronts: the Pareto fronts on which it lies, `time` and `cost`.
    """

    group: Group
    label: str
    train_s: Sample
    total_s: Sample
    accuracy: Sample
    gate: Gate
    cost: Cost
    cost_to_99: Cost | None
    reached: dict[float, Reached]
    doubts: tuple[str, ...]
    notes: tuple[str, ...]
    fronts: set[str] = field(default_factory=set)

    @property
    def ref(self) -> str:
        """Its lasting name."""
        return self.group.ref

    @property
    def key(self) -> Key:
        """What its runs share."""
        return self.group.key

    @property
    def category(self) -> str:
        """One of `groups.CATEGORIES`."""
        return self.key.category

    @property
    def n(self) -> int:
        """How many runs."""
        return len(self.group.runs)

    @property
    def engine(self) -> str:
        """The engine, with its backend where that is not plain from the name."""
        plain = self.key.engine in ("lightning", "torch", "tensorflow", "mlx")
        return self.key.engine if plain else f"{self.key.engine} ({self.key.backend})"

    @property
    def trained_by(self) -> str:
        """The engine, its precision where it is not float32, and what was switched on."""
        parts = [self.engine, "" if self.key.precision == "float32" else self.key.precision]
        return ", ".join(part for part in (*parts, self.division) if part)

    @property
    def division(self) -> str:
        """`tuned (compile=true)` or `open (kernels a, b)`; empty for stock."""
        if self.key.division == "stock":
            return ""
        kernels = f"kernels {', '.join(self.key.kernels[:MOST_NAMED])}" if self.key.kernels else ""
        names = [*self.key.switches[:MOST_NAMED], *self.key.environment[:MOST_NAMED], kernels]
        said = ", ".join(name for name in names if name)
        return f"{self.key.division} ({said})" if said else self.key.division

    @cached_property
    def machine(self) -> str:
        """What it ran on, in a few words: the accelerator, else the processor and its threads."""
        machine, devices = self.key.machine, self.key.devices
        if machine.accelerator == "cpu":
            return f"{machine.cpu_model or 'CPU'}, {counted(machine.threads, 'thread')}"
        name = machine.accelerator_name or machine.accelerator
        if machine.accelerator == "mps":
            name += " (MPS)"
        return f"{devices} x {name}" if devices > 1 else name

    @property
    def training_time(self) -> str:
        """For a table."""
        return seconds(self.train_s.median, self.train_s.sd)

    @property
    def place(self) -> str:
        """For sentences about machines: `Kaggle (T4), Tesla T4 (n = 5)`."""
        return f"{self.label}, {self.machine} (n = {self.n})"

    @property
    def name(self) -> str:
        """For sentences that name the engine as well."""
        return f"{self.label}, {self.trained_by} on {self.machine}"

    @cached_property
    def origin(self) -> str:
        """Program version, commit and date: `0.2.0, 1535419, 2026-11-20`."""
        software = [run.record.software for run in self.group.runs]
        commits = {(part.git_commit or "")[:COMMIT_DIGITS] for part in software} - {""}
        dates = [run.record.created_at[:10] for run in self.group.runs]
        parts = [
            *_few({part.program_version for part in software}, "versions"),
            *_few(commits, "commits"),
            dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}",
        ]
        return ", ".join(parts)

    def share_of(self, phase: str) -> float:
        """The median share of a phase in the whole time, 0 to 1."""
        timings = [run.record.timing for run in self.group.runs]
        shares = [getattr(t, f"{phase}_s") / t.total_s for t in timings if t.total_s]
        return Sample(tuple(shares)).median if shares else 0.0

    def used(self, name: str) -> float | None:
        """The median of a reading of `resources` over the runs that have it."""
        readings = [getattr(run.record.resources, name) for run in self.group.runs]
        known = tuple(value for value in readings if value is not None)
        return Sample(known).median if known else None


def _few(values: set[str], what: str) -> Sequence[str]:
    return sorted(values) if len(values) < 3 else [f"{len(values)} {what}"]
