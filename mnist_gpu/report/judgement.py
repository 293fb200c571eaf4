"""What speaks for and against a row: the accuracy gate, doubts, and what else stands beside it.

A fast run counts only if it trained what the reference trained. A row `passes` the gate when its
accuracy is shown equivalent to the reference's; with three runs or more it is else `not shown
equivalent`; with fewer, or beside no reference, `not judged`. Fewer runs never pass more easily:
equivalence has to be shown, and takes runs to be shown.

A doubt keeps a row out of every comparison. It may come from the rules as well, by run id.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from statistics import fmean, median

from mnist_gpu.numbers import counted
from mnist_gpu.protocol.standard import protocol
from mnist_gpu.records.facts import facts
from mnist_gpu.records.remarks import pipeline_waits_s
from mnist_gpu.records.run import Run
from mnist_gpu.report.groups import Machine
from mnist_gpu.report.rows import NOT_JUDGED, NOT_SHOWN, PASSES, Gate, Row
from mnist_gpu.report.statistics import ENOUGH, drift, equivalence_p

Lines = Mapping[str, Sequence[str]]
SIGNIFICANT = 0.05
# shares of the training time, of the first epochs' time, and of the whole run
WIDE_SPREAD = 0.10
DRIFTING = 0.05
THROTTLED = 0.01
FOREIGN_CPU_PERCENT = 10
# two clocks that the network sets may differ by as much
CLOCK_SLACK_S = 2


def pinned() -> dict[str, float]:
    """run_id -> test accuracy of the reference runs, from the reviewed file."""
    return dict(facts("reference")["runs"] or {})


def gate(row: Row, reference: Mapping[str, float]) -> Gate:
    """Judge one row beside the reference runs (run_id -> test accuracy)."""
    if not row.gated:
        return Gate(NOT_JUDGED, "another workload than the reference's")
    if len(reference) < ENOUGH:
        return Gate(NOT_JUDGED, "no reference runs are pinned yet")
    # a row in which others have joined the reference is judged by all of its runs
    if all(_is_pinned(run, reference) for run in row.runs):
        return Gate(PASSES, f"its own reference (n = {len(reference)})")
    if row.n < ENOUGH:
        return Gate(NOT_JUDGED, f"n = {row.n}, and it takes {ENOUGH}")
    found = _by_seed(row)
    if len(found) < ENOUGH:
        return Gate(NOT_JUDGED, f"{counted(len(found), 'seed')}, and it takes {ENOUGH}")
    margin = protocol()["accuracy_margin_points"] / 100
    accuracies = list(reference.values())
    p = equivalence_p(found, accuracies, margin)
    difference = 100 * (fmean(found) - fmean(accuracies))
    said = f"TOST p = {p:.2g}" if p >= 0.001 else "TOST p < 0.001"
    basis = f"{difference:+.2f} points against the reference (n = {len(reference)}), {said}"
    return Gate(PASSES if p < SIGNIFICANT else NOT_SHOWN, basis)


def _is_pinned(run: Run, reference: Mapping[str, float]) -> bool:
    """Whether a run is one of the reference; whoever takes its id has another accuracy."""
    run_id, accuracy = run.record.run_id, run.record.result.test_accuracy
    return run_id in reference and reference[run_id] == accuracy


def _by_seed(row: Row) -> list[float]:
    """One accuracy a seed, the mean of its runs: to send a run again tells nothing new."""
    found: dict[int, list[float]] = {}
    for run, accuracy in zip(row.runs, row.accuracy.points, strict=True):
        found.setdefault(run.record.workload.seed, []).append(accuracy)
    return list(map(fmean, found.values()))


def run_doubts(
    runs: Sequence[Run], given: Lines, reference: Mapping[str, float]
) -> dict[str, list[str]]:
    """Doubts on single runs by run id: those given, and those that the runs raise themselves, alone
    or beside the reference runs (run_id -> test accuracy)."""
    found = {run_id: list(lines) for run_id, lines in given.items()}
    times_seen = Counter(run.train_s for run in runs)
    overlapping = _overlapping(runs)
    for run in runs:
        record = run.record
        said = {
            "epoch times are those of another run": run.train_s and times_seen[run.train_s] > 1,
            "ran while another run was on such a machine": record.run_id in overlapping,
            "made by a checkout with changes": record.software.git_dirty,
            "platform not verified": not record.platform.verified,
            "has the id of a reference run, and is another": record.run_id in reference
            and not _is_pinned(run, reference),
        }
        if lines := [line for line, holds in said.items() if holds]:
            found.setdefault(record.run_id, []).extend(lines)
    return found


def doubts(row: Row, of_run: Lines) -> Iterator[str]:
    """Why a row is not to be compared, in words."""
    lines = Counter(line for run in row.runs for line in of_run.get(run.record.run_id, ()))
    for line, count in lines.items():
        yield f"{line} ({count} of {row.n} runs)" if row.n > 1 else line
    published = protocol()["seeds"]
    # whoever is free to choose seeds can choose the best ones
    if others := sorted(row.seeds - set(published)):
        yield f"seeds that are not of the published list: {', '.join(map(str, others))}"
    wanted = [seed for seed in published if seed < max(row.seeds)]
    if left_out := [seed for seed in wanted if seed not in row.seeds]:
        yield f"seeds left out of the published list: {', '.join(map(str, left_out))}"
    # a median bears what befell fewer than half
    yield from (line for line, count in _disturbances(row) if 2 * count >= row.n)


def notes(row: Row) -> Iterator[str]:
    """What a reader should know of a row that can be compared all the same."""
    n, train_s = row.n, row.train_s
    if n < ENOUGH:
        yield f"n = {n}: no spread to judge by"
    elif train_s.median and (spread := (train_s.sd or 0) / train_s.median) > WIDE_SPREAD:
        yield f"spread of {spread:.0%} over the runs"
    drifts = [found for run in row.runs if (found := drift(run)) is not None]
    one_way = n >= ENOUGH and len(drifts) == n and len({found > 0 for found in drifts}) == 1
    if one_way and abs(typical := median(drifts)) > DRIFTING:
        yield (
            f"drifting: the last ten epochs took {typical:+.0%} against the first ten"
            f" (median of {n} runs, all in one direction)"
        )
    if waited := sum(len(pipeline_waits_s(r.record.engine, r.train_s)) for r in row.runs):
        epochs = counted(sum(len(run.train_s) for run in row.runs), "epoch")
        yield f"{waited} of {epochs} ended in a wait for TensorFlow's data pipeline"
    yield from (line for line, count in _disturbances(row) if 0 < 2 * count < n)
    versions = set(row.over("software.program_version"))
    if len(versions) > 1:
        yield f"runs of {len(versions)} program versions: {', '.join(sorted(versions))}"
    if (seeds := len(set(row.over("workload.seed")))) < n:
        yield f"{n} runs of {counted(seeds, 'seed')}"
    if unfinished := sorted(row.seeds - set(row.over("workload.seed"))):
        yield f"no run completed of seeds {', '.join(map(str, unfinished))}"


def _disturbances(row: Row) -> list[tuple[str, int]]:
    held_back_s = zip(row.over("resources.throttled_s"), row.total_s.points, strict=True)
    throttled = sum((held_s or 0) > THROTTLED * total_s for held_s, total_s in held_back_s)
    warned = sum(map(bool, row.over("resources.warnings")))
    return [
        (f"throttled by the CPU quota in {throttled} of {row.n} runs", throttled),
        (f"disturbed in {warned} of {row.n} runs: see their warnings", warned),
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
        # of those before, the one that ends last is what the next may overlap
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
