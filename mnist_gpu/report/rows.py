"""One row of the report: runs of one key and all that is said of them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter
from statistics import median
from typing import Any

from mnist_gpu.numbers import counted, percent, seconds
from mnist_gpu.protocol.standard import protocol
from mnist_gpu.records.facts import facts
from mnist_gpu.records.price import Cost
from mnist_gpu.records.rules.claims import known_platforms
from mnist_gpu.records.run import Run
from mnist_gpu.records.schema import Record
from mnist_gpu.report.cost import cost_to, run_cost
from mnist_gpu.report.groups import CATEGORIES, Key, refs
from mnist_gpu.report.statistics import Sample, time_to

PASSES, NOT_SHOWN, NOT_JUDGED = "passes", "not shown equivalent", "not judged"
COMMIT_DIGITS = 7
MOST_NAMED = 4
REHEARSED = ", rehearsed on one's own machine"


@dataclass(frozen=True)
class Reached:
    """How fast an accuracy was reached: median training seconds, in `n` of `of` runs.

    A run that never got there counts as slower than any; None where that leaves no median.
    """

    train_s: float | None
    n: int
    of: int


@dataclass(frozen=True)
class Gate:
    """Whether a row's accuracy is that of the reference.

    Attributes:
        outcome: `passes`, `not shown equivalent` or `not judged`.
        basis: how it was judged, for people.
    """

    outcome: str
    basis: str

    @property
    def failed(self) -> bool:
        """Whether enough runs did not show what they should."""
        return self.outcome == NOT_SHOWN


@dataclass(eq=False)
class Row:
    """The completed runs of one key, the oldest first, with their statistics.

    Attributes:
        ref: its lasting name in tables and links.
        seeds: of these runs and of those that did not complete.
        gate: whether its accuracy counts.
        doubts: why it is not to be compared; empty for most rows.
        notes: what else stands beside it.
        fronts: the Pareto fronts on which it lies, `time` and `cost`.
    """

    ref: str
    key: Key
    runs: list[Run]
    seeds: set[int]
    gate: Gate = Gate(NOT_JUDGED, "")
    doubts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    fronts: set[str] = field(default_factory=set)

    @property
    def n(self) -> int:
        """How many runs."""
        return len(self.runs)

    @property
    def newest(self) -> Record:
        """The record of the newest run."""
        return self.runs[-1].record

    @property
    def category(self) -> str:
        """One of `groups.CATEGORIES`."""
        return self.key.category

    @property
    def gated(self) -> bool:
        """Whether its accuracy can be judged beside the reference's."""
        # the others train something else, on which no reference was trained
        return self.category in ("standard", "unverified", "resumed")

    @property
    def kind(self) -> str:
        """The platform's, `local`, `cloud` or `hpc`; `rehearsal` for a stand-in at home."""
        # a hub on one's own laptop is no cloud, whatever platform it plays
        return "rehearsal" if self.key.rehearsal else self.newest.platform.kind

    @property
    def on_cpu(self) -> bool:
        """Whether no accelerator took part."""
        return self.key.machine.accelerator == "cpu"

    @cached_property
    def train_s(self) -> Sample:
        """The training time of each run."""
        return Sample(tuple(self.over("timing.train_s")), seconds)

    @cached_property
    def total_s(self) -> Sample:
        """The whole time of each run."""
        return Sample(tuple(self.over("timing.total_s")), seconds)

    @cached_property
    def accuracy(self) -> Sample:
        """The test accuracy of each run, 0 to 1."""
        return Sample(tuple([run.test_accuracy[-1] for run in self.runs]), percent)

    @cached_property
    def cost(self) -> Cost:
        """Of the run of median cost."""
        return _typical([run_cost(run) for run in self.runs])

    @cached_property
    def cost_to_99(self) -> Cost | None:
        """From the start to an accuracy of 99 %; None where no run got there."""
        costs = [cost for run in self.runs if (cost := cost_to(run, 0.99)) is not None]
        return _typical(costs) if costs else None

    @cached_property
    def reached(self) -> dict[float, Reached]:
        """How fast each of the protocol's accuracies was reached."""
        found = {}
        for target in protocol()["targets"]:
            times = [time_to(run, target) for run in self.runs]
            typical = median(math.inf if time is None else time for time in times)
            # infinity is the median where half of them never got there: no number for a table
            got_there = len(times) - times.count(None)
            train_s = typical if math.isfinite(typical) else None
            found[target] = Reached(train_s, got_there, len(times))
        return found

    @cached_property
    def label(self) -> str:
        """The platform's, for people: what `conf/platform/` says no record can change."""
        # the oldest: a run that joins later renames nothing
        platform = self.runs[0].record.platform
        known = known_platforms().get(platform.name)
        return (str(known["label"]) if known else platform.label) + REHEARSED * platform.rehearsal

    @property
    def engine(self) -> str:
        """The engine, with its backend where it has several."""
        known = facts("engines")["engines"].get(self.key.engine, {})
        several = known.get("several_backends")
        return f"{self.key.engine} ({self.key.backend})" if several else self.key.engine

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
        names = [*self.key.switches[:MOST_NAMED], *self.key.environment[:MOST_NAMED]]
        if self.key.kernels:
            names.append(f"kernels {', '.join(self.key.kernels[:MOST_NAMED])}")
        return f"{self.key.division} ({', '.join(names)})" if names else self.key.division

    @cached_property
    def machine(self) -> str:
        """What it ran on, in a few words: the accelerator, else the processor and its threads."""
        machine, devices = self.key.machine, self.key.devices
        # how many threads compute is what tells the rows of one CPU apart
        if self.on_cpu:
            return f"{machine.cpu_model or 'CPU'}, {counted(machine.threads, 'thread')}"
        name = machine.accelerator_name or machine.accelerator
        if machine.accelerator == "mps":
            name += " (MPS)"
        return f"{devices} x {name}" if devices > 1 else name

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
        versions = set(self.over("software.program_version"))
        commits = {(commit or "")[:COMMIT_DIGITS] for commit in self.over("software.git_commit")}
        days = [instant[:10] for instant in self.over("created_at")]
        dates = days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
        return ", ".join([*_few(versions, "versions"), *_few(commits - {""}, "commits"), dates])

    def over(self, field: str) -> list[Any]:
        """A field of the records, such as `timing.train_s`, run by run."""
        value_of = attrgetter(field)
        return [value_of(run.record) for run in self.runs]

    def typical(self, field: str) -> float | None:
        """The median of a reading over the runs that have it."""
        # a reading that a container hides is not zero there
        known = [value for value in self.over(field) if value is not None]
        return median(known) if known else None


def group_runs(runs: Iterable[Run]) -> list[Row]:
    """Put completed runs into rows, those of the standard first, then the fastest first."""
    found: dict[Key, list[Run]] = {}
    seeds: dict[Key, set[int]] = {}
    for run in sorted(runs, key=lambda run: (run.record.created_at, run.record.run_id)):
        key = Key.of(run.record)
        tried = seeds.setdefault(key, set())
        # those that failed count, if they trained: who leaves out slow seeds is doubted
        if run.train_s:
            tried.add(run.record.workload.seed)
        if run.record.status == "completed":
            found.setdefault(key, []).append(run)
    # of all at once: whether a short name is another row's too shows among all alone
    names = refs(list(found))
    rows = [
        Row(ref, key, runs, seeds[key])
        for ref, (key, runs) in zip(names, found.items(), strict=True)
    ]
    order = list(CATEGORIES)
    return sorted(rows, key=lambda row: (order.index(row.category), row.train_s.median))


def _typical(costs: Sequence[Cost]) -> Cost:
    """The run of median cost; the newest where they cannot be compared."""
    comparable = len({cost.unit for cost in costs}) == 1 and costs[0].amount is not None
    if not comparable:
        return costs[-1]
    # the dearer of two in the middle: a cost that a run really had
    return sorted(costs, key=lambda cost: cost.amount or 0.0)[len(costs) // 2]


def _few(values: set[str], what: str) -> Sequence[str]:
    # more would make this cell wider than all others
    return sorted(values) if len(values) < 3 else [f"{len(values)} {what}"]
