"""One row of the report: a group of runs and all that is said of it."""

from dataclasses import dataclass, field

from mnist_gpu.report.cost import Cost
from mnist_gpu.report.gate import Gate
from mnist_gpu.report.groups import Group
from mnist_gpu.report.numbers import seconds
from mnist_gpu.report.statistics import Sample


@dataclass(frozen=True)
class Reached:
    """How fast an accuracy was reached: median training seconds, in `n` of `of` runs."""

    train_s: float | None
    n: int
    of: int


@dataclass(frozen=True)
class Row:
    """See the attributes of `Summary`. `fronts` names the Pareto fronts on which the row lies."""

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
    fronts: set[str] = field(default_factory=set)

    @property
    def ref(self) -> str:
        """`R1`, `R2`, ..."""
        return self.group.ref

    @property
    def category(self) -> str:
        """One of `groups.CATEGORIES`."""
        return self.group.category

    @property
    def n(self) -> int:
        """How many runs."""
        return len(self.group.runs)

    @property
    def engine(self) -> str:
        """The engine, with its backend where that is not plain from the name."""
        configuration = self.group.configuration
        backend = configuration.backend
        plain = configuration.engine in ("lightning", "torch", "tensorflow", "mlx")
        return configuration.engine if plain else f"{configuration.engine} ({backend})"

    @property
    def training_time(self) -> str:
        """For a table."""
        return seconds(self.train_s.median, self.train_s.sd)

    @property
    def name(self) -> str:
        """For sentences: platform, engine, machine, and precision where it is not float32."""
        configuration = self.group.configuration
        precision = configuration.precision
        extra = "" if precision == "float32" else f", {precision}"
        return f"{self.label}, {self.engine}{extra} on {configuration.machine}"
