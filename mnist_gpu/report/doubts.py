"""What casts doubt on a row, and what else stands beside it.

A doubt keeps a row out of every comparison. It may come from the rules as well, by run id.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from statistics import median

from mnist_gpu.protocol.standard import protocol
from mnist_gpu.records.run import Run
from mnist_gpu.report.groups import Group, Machine
from mnist_gpu.report.statistics import ENOUGH, Sample, drift

Lines = Mapping[str, Sequence[str]]
WIDE_SPREAD = 0.10
DRIFTING = 0.05
THROTTLED = 0.01
FOREIGN_CPU_PERCENT = 10
CLOCK_SLACK_S = 2


def run_doubts(runs: Sequence[Run], given: Lines) -> dict[str, list[str]]:
    """Doubts on single runs by run id: those given, and those that the runs raise themselves."""
    found: dict[str, list[str]] = {run_id: list(lines) for run_id, lines in given.items()}
    times_seen = Counter(run.train_s for run in runs)
    overlapping = _overlapping(runs)
    for run in runs:
        record = run.record
        said = {
            "epoch times are those of another run": bool(run.train_s)
            and times_seen[run.train_s] > 1,
            "ran while another run was on such a machine": record.run_id in overlapping,
            "made by a checkout with changes": bool(record.software.git_dirty),
            "platform not verified": not record.platform.verified,
        }
        lines = [line for line, holds in said.items() if holds]
        if lines:
            found.setdefault(record.run_id, []).extend(lines)
    return found


def doubts(group: Group, of_run: Lines) -> Iterator[str]:
    """Why a row is not to be compared, in words."""
    runs, seeds = group.runs, group.seeds
    lines = Counter(line for run in runs for line in of_run.get(run.record.run_id, ()))
    for line, count in lines.items():
        yield f"{line} ({count} of {len(runs)} runs)" if len(runs) > 1 else line
    published = protocol()["seeds"]
    if others := sorted(seeds - set(published)):
        yield f"seeds that are not of the published list: {', '.join(map(str, others))}"
    if left_out := [seed for seed in published if seed < max(seeds) and seed not in seeds]:
        yield f"seeds left out of the published list: {', '.join(map(str, left_out))}"
    # a median bears what befell fewer than half
    yield from (line for line, count in _disturbances(group) if 2 * count >= len(runs))


def notes(group: Group, train_s: Sample) -> Iterator[str]:
    """What a reader should know of a row that can be compared all the same."""
    n = train_s.n
    if n < ENOUGH:
        yield f"n = {n}: no spread to judge by"
    elif train_s.median and (spread := (train_s.sd or 0) / train_s.median) > WIDE_SPREAD:
        yield f"spread of {spread:.0%} over the runs"
    drifts = [found for run in group.runs if (found := drift(run)) is not None]
    one_way = n >= ENOUGH and len(drifts) == n and len({found > 0 for found in drifts}) == 1
    if one_way and abs(typical := median(drifts)) > DRIFTING:
        yield (
            f"drifting: the last ten epochs took {typical:+.0%} against the first ten"
            f" (median of {n} runs, all in one direction)"
        )
    yield from (line for line, count in _disturbances(group) if 0 < 2 * count < n)
    versions = {run.record.software.program_version for run in group.runs}
    if len(versions) > 1:
        yield f"runs of {len(versions)} program versions: {', '.join(sorted(versions))}"


def _disturbances(group: Group) -> list[tuple[str, int]]:
    records = [run.record for run in group.runs]
    throttled = sum(
        (record.resources.throttled_s or 0) > THROTTLED * record.timing.total_s
        for record in records
    )
    warned = sum(bool(record.resources.warnings) for record in records)
    return [
        (f"throttled by the CPU quota in {throttled} of {len(records)} runs", throttled),
        (f"disturbed in {warned} of {len(records)} runs: see their warnings", warned),
    ]


def _overlapping(runs: Sequence[Run]) -> set[str]:
    """Runs that were on like computers at one time, unless they saw that they were alone there."""
    hosts: dict[object, list[tuple[float, float, Run]]] = {}
    for run in runs:
        end_s = datetime.fromisoformat(run.record.created_at).timestamp()
        span = (end_s - run.record.timing.total_s, end_s, run)
        hosts.setdefault(Machine.of(run.record).host, []).append(span)
    found: set[str] = set()
    for spans in hosts.values():
        spans.sort(key=lambda span: span[:2])
        latest = spans[0]
        for span in spans[1:]:
            if span[0] < latest[1] - CLOCK_SLACK_S and not (_alone(span[2]) and _alone(latest[2])):
                found |= {span[2].record.run_id, latest[2].record.run_id}
            latest = max(latest, span, key=lambda each: each[1])
    return found


def _alone(run: Run) -> bool:
    """Whether a rented machine showed nobody else's work; there are many of its kind."""
    foreign = run.record.resources.foreign_cpu_percent
    rented = run.record.platform.kind != "local"
    return rented and foreign is not None and foreign < FOREIGN_CPU_PERCENT
