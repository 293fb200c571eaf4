"""Which rows may be compared, what may be said of them, and which run is missing where nothing may.

Machines are compared within one engine of one version, stock and in one precision. Versions of
frameworks may differ, and are said.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from mnist_gpu.numbers import times
from mnist_gpu.protocol.standard import protocol
from mnist_gpu.records.rules.claims import known_platforms
from mnist_gpu.report.rows import NOT_SHOWN, Row
from mnist_gpu.report.statistics import ENOUGH, Ratio, ratio

Rows = Sequence[Row]
MOST_PLATFORMS = 8


@dataclass(frozen=True)
class Side:
    """One side of a question: where a run is to be made, and who has made one.

    Attributes:
        wanted: the values of which a field of `conf/platform/` has one on this side.
    """

    where: str
    noun: str
    holds: Callable[[Row], bool]
    wanted: tuple[str, set[str]]


RENTED = {"cloud", "hpc"}
ANYWHERE = Side("on any machine", "machine", lambda row: True, ("kind", {"local", *RENTED}))
CPU = Side("on a CPU", "CPU", lambda row: row.on_cpu, ("accelerator", {"cpu"}))
ACCELERATOR = Side(
    "on an accelerator", "accelerator", lambda row: not row.on_cpu, ("accelerator", {"cuda", "mps"})
)
CLOUD = Side("in a cloud", "cloud machine", lambda row: row.kind in RENTED, ("kind", RENTED))
PRICED = Side(
    "where a price or the energy is known",
    "machine with a price",
    lambda row: row.cost.free or row.cost.amount is not None,
    ("kind", {"local", *RENTED}),
)
HOME = Side(
    "on a machine of one's own",
    "local machine",
    lambda row: row.kind == "local",
    ("kind", {"local"}),
)


def trusted(row: Row) -> bool:
    """Whether a row is standard, of no shown inequivalence and under no doubt."""
    return row.category == "standard" and not row.doubts and not row.gate.failed


def sound(row: Row) -> bool:
    """Whether it is trusted, and stock."""
    return trusted(row) and row.key.division == "stock"


def comparable(row: Row) -> bool:
    """Whether it is sound, and of enough runs for a ratio."""
    return sound(row) and row.n >= ENOUGH


def fields(rows: Rows) -> list[Rows]:
    """Machines that may be compared, one row each, the fastest first; the common engine's first."""
    common = protocol()["common_engine"]
    found: dict[tuple[object, ...], list[Row]] = {}
    for row in filter(comparable, rows):
        key = row.key
        # False comes before True
        # not by the backend as recorded: two machines seldom have the same build of torch
        group = (key.engine != common, row.engine, key.precision)
        # sorted below: the newest engine version of each comes first
        found.setdefault((*group, -key.engine_version), []).append(row)
    return [newest(found[group]) for group in sorted(found)]


def newest(rows: Rows, *also: Callable[[Row], object]) -> list[Row]:
    """One row a machine, the fastest first: what is no rehearsal, then what ran last."""
    found: dict[object, Row] = {}
    # the last one that is put there stays
    for row in sorted(rows, key=lambda row: (not row.key.rehearsal, row.newest.created_at)):
        found[(row.key.machine, *(what(row) for what in also))] = row
    return sorted(found.values(), key=lambda row: row.train_s.median)


def stock_of(rows: Rows) -> dict[str, Row]:
    """The stock row under which each tuned or open one stands, by the latter's name: of its own
    precision, or of float32 where nobody has run that."""
    stock = {row.key.stock: row for row in rows if row.key.division == "stock"}
    found: dict[str, Row] = {}
    for row in rows:
        if row.key.division != "stock":
            in_float32 = stock.get(replace(row.key, precision="float32").stock)
            if base := stock.get(row.key.stock, in_float32):
                found[row.ref] = base
    return found


def beside(slow: Row, fast: Row) -> Ratio:
    """The ratio of their training times."""
    return ratio(slow.train_s.points, fast.train_s.points)


def against(found: Ratio) -> str:
    """`takes 2.31 times (95 % interval 2.28 to 2.34) as long`, or what may be said instead."""
    said = times(found.value, found.interval)
    if found.tells_apart:
        unsure = "takes longer, by a ratio too uncertain to be said"
        return f"takes {said} as long" if found.may_be_said else unsure
    told = f" ({said.replace(' (95', ', 95')}" if found.may_be_said else ""
    return f"cannot be told apart from it{told}"


def leader(rows: Rows, what: str) -> str:
    """`is the fastest of 3 machines`, where the next of the sorted rows can be told apart."""
    # only what is told apart is called the fastest
    apart = beside(rows[1], rows[0]).tells_apart
    return f"{'is the fastest' if apart else 'has the shortest median'} of {len(rows)} {what}"


def best(rows: Rows, what: str) -> str:
    """The first of sorted rows, for a sentence that goes on."""
    if len(rows) == 1:
        return f"the only {what}, {rows[0].place},"
    said = "fastest" if beside(rows[1], rows[0]).tells_apart else "first by median"
    return f"the {said} of {len(rows)} {what}s, {rows[0].place},"


def versions(*rows: Row) -> str:
    """` (torch 2.11 and torch 2.15)` where versions of framework or backend differ; else empty."""
    frameworks = {row.key.framework for row in rows}
    # some are a device or have no version
    backends = {row.key.backend for row in rows if " " in row.key.backend}
    differing = (sorted(names) for names in (frameworks, backends) if len(names) > 1)
    said = "; ".join(" and ".join(names) for names in differing)
    return f" ({said})" if said else ""


def missing(rows: Rows, *wanted: Side) -> str:
    """Which run would let something be said of the sides, by the common engine."""
    lacking = [text for side in wanted for text in _lacking(rows, side)]
    if not lacking:
        lacking = ["the same engine version and precision on both sides, on different hardware"]
    return f"Nothing can be said yet. Missing: {'; '.join(lacking)}."


def there_are(rows: Rows, side: Side) -> list[Row]:
    """The standard stock rows of the common engine on one side, whether comparable or not yet."""
    wanted = ("standard", "stock", protocol()["common_engine"])
    ours = [r for r in rows if (r.category, r.key.division, r.key.engine) == wanted]
    return list(filter(side.holds, ours))


def _lacking(rows: Rows, side: Side) -> Iterator[str]:
    # what one run more would settle is asked for before a whole new row
    there = there_are(rows, side)
    if any(map(comparable, there)):
        return
    if there:
        yield _obstacle(max(there, key=lambda row: (sound(row), row.n)))
        return
    field, values = side.wanted
    names = [name for name, entry in known_platforms().items() if str(entry[field]) in values]
    where = f"{side.where} (platform={','.join(names[:MOST_PLATFORMS])}"
    yield f"engine={protocol()['common_engine']} {where}; seed=0,1,2 or more)"


def _obstacle(row: Row) -> str:
    # the reason that weighs most: a doubt is not mended by more seeds
    if row.doubts:
        return f"{row.ref} without its doubt ({row.doubts[0]})"
    if row.gate.failed:
        return f"{row.ref} with an accuracy that is equivalent (it is {NOT_SHOWN})"
    made = {run.record.workload.seed for run in row.runs}
    left = [seed for seed in protocol()["seeds"] if seed not in made]
    seeds = ",".join(map(str, left[: ENOUGH - row.n]))
    return f"seed={seeds or 'any'} of {row.ref} (n = {row.n})"
