"""Rules on all records together: none is another one sent again."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from operator import attrgetter
from typing import Any

from mnist_gpu.records.facts import facts, limits
from mnist_gpu.records.run import Column, Run

BLOCK = 1024
Together = tuple[Run, str, str, str]
"""The run, the rule, the field and the reason."""
# on a processor the same products, and so the same weights
SAME_ARITHMETIC = {"tf32": "float32"}


def repeated(runs: Sequence[Run]) -> Iterator[Together]:
    """Whatever speaks against records that is seen only beside others; each of them is named, for
    nothing says which was first."""
    # drawn by each run at random: two that are equal are one
    for group in _groups(runs, lambda run: run.record.run_id):
        yield from _named(group, "run_id_unique", "run_id")
    for group in _groups(runs, _few_times):
        yield from _named(group, "epoch_times_own", "epochs.*.train_s")
    for field in ("train_s", "eval_s"):
        yield from _shared(runs, field, "epoch_times_own", lambda one, other: False)
    for group in _groups(runs, _length):
        yield from _alike(group, "train_s", "epoch_times_own")
        if len(group[0].test_loss) >= limits().alike_steps["from"]:
            yield from _alike(group, "test_loss", "outcome_own")
    for field, of in (("result.weights_sha256", _weights), ("epochs.*.test_loss", _few_losses)):
        for group in _groups(runs, of):
            losses = [run.record.result.test_loss or 0.0 for run in group]
            # equal weights have nearly equal losses wherever they are evaluated
            apart = max(losses) - min(losses) > limits().same_loss
            if apart or len({_training(run) for run in group}) > 1:
                yield from _named(group, "outcome_own", field)
    published = [run for run in runs if run.record.workload.dataset == "mnist"]
    for field in ("train_loss", "test_loss"):
        yield from _shared(published, field, "outcome_own", _trained_alike)


def _groups(runs: Sequence[Run], key: Callable[[Run], Hashable]) -> Iterator[list[Run]]:
    """The runs that have a key in common; None is none."""
    found: dict[Hashable, list[Run]] = defaultdict(list)
    for run in runs:
        if (value := key(run)) is not None:
            found[value].append(run)
    yield from (group for group in found.values() if len(group) > 1)


def _named(group: Sequence[Run], rule: str, field: str) -> Iterator[Together]:
    for run in group:
        other = group[1] if run is group[0] else group[0]
        more = f" and {len(group) - 2} more" if len(group) > 2 else ""
        yield run, rule, field, f"is that of {other.path}{more}, too"


def _few_times(run: Run) -> Hashable:
    """Of so few epochs that `_shared` does not judge them: all times, in whatever order."""
    # of a single epoch two runs may agree to the nanosecond by chance
    few = 0 < len(run.train_s) < limits().shared_from
    return (*sorted(run.train_s), *sorted(run.eval_s)) if few else None


def _few_losses(run: Run) -> Hashable:
    return run.test_loss if 0 < len(run.test_loss) < limits().shared_from else None


def _length(run: Run) -> Hashable:
    epochs = len(run.train_s)
    return (run.record.workload.model, epochs) if epochs >= limits().alike_from else None


def _weights(run: Run) -> Hashable:
    return run.record.result.weights_sha256


def _training(run: Run) -> Hashable:
    """What must be equal where weights or losses are: seed and arithmetic, not the machine."""
    engine, work = run.record.engine, run.record.workload
    alike = facts("engines")["same_arithmetic"]
    family = next((names[0] for names in alike if engine.name in names), engine.name)
    precision = SAME_ARITHMETIC.get(engine.precision, engine.precision)
    trained = (work.model, work.dataset_sha256, work.batch_size, work.learning_rate, precision)
    return (work.seed, family, *trained)


def _trained_alike(one: Run, other: Run) -> bool:
    return _training(one) == _training(other)


def _shared(
    runs: Sequence[Run], field: str, rule: str, may: Callable[[Run, Run], bool]
) -> Iterator[Together]:
    """Runs of which a part is another's, in whatever order: trimmed, spliced, shuffled.

    Args:
        runs: any.
        field: of every epoch.
        rule: that says they may not.
        may: whether two runs may share what they do.
    """
    import numpy as np

    columns = list(map(attrgetter(field), runs))
    if not any(columns):
        return
    owners = np.repeat(np.arange(len(runs)), list(map(len, columns)))
    values = np.concatenate([np.asarray(column, dtype=float) for column in columns])
    # equal values come to lie side by side, the runs that have them in their order
    order = np.argsort(values, kind="stable")
    owners, values = owners[order], values[order]
    equal = (values[1:] == values[:-1]) & (owners[1:] != owners[:-1])
    pairs = zip(owners[:-1][equal].tolist(), owners[1:][equal].tolist(), strict=True)
    for (left, right), count in Counter(pairs).items():
        one, other = runs[left], runs[right]
        if count >= _most_by_chance(columns[left], columns[right]) and not may(one, other):
            for run, its in ((one, other), (other, one)):
                yield run, rule, f"epochs.*.{field}", f"holds {count} of those of {its.path}"


def _most_by_chance(one: Column, other: Column) -> float:
    """From how many equal values on two runs share a part."""
    middle = sorted((*one, *other))
    tenth = len(middle) // 10
    spread = middle[-1 - tenth] - middle[tenth]
    # of values as close together as a coarse clock's ticks some are equal anyway
    expected = len(one) * len(other) * limits().coarsest_tick_s / spread if spread else math.inf
    part = limits().shared * min(len(one), len(other))
    return float(max(limits().shared_from, part) + 10 * expected)


def _alike(group: Sequence[Run], field: str, rule: str) -> Iterator[Together]:
    """Runs of one length whose times or losses move alike from epoch to epoch, the times forwards
    or backwards, as only jitter leaves copies."""
    import numpy as np

    # the first epoch warms up alike everywhere
    values: Any = np.array([getattr(run, field)[1:] for run in group])
    most, steps = limits().alike, limits().alike_steps
    # of honest runs whole courses may be alike, and steps by chance where there are few
    backwards = 1
    if len(group[0].train_s) >= steps["from"]:
        values, most, backwards = np.diff(values), steps["most"], -1
    # sorting twice gives ranks, and the product of two rows of unit length is their correlation
    ranks = values.argsort(axis=1).argsort(axis=1).astype(np.float32)
    ranks -= ranks.mean(axis=1, keepdims=True)
    ranks /= np.linalg.norm(ranks, axis=1, keepdims=True)
    # backwards a step up is one down
    directions = [ranks, backwards * ranks[:, ::-1]] if field == "train_s" else [ranks]
    partner: dict[int, int] = {}
    # all against all, a block at a time: 10,000 runs would be 400 MB at once
    for start in range(0, len(group), BLOCK):
        block = ranks[start : start + BLOCK]
        # those before have been compared with these
        for others in directions:
            alike = block @ others[start:].T > most
            np.fill_diagonal(alike, False)  # a run is like itself
            if alike.any():
                for number, other in (np.argwhere(alike) + start).tolist():
                    # losses of one training may well be alike on two machines
                    if field == "train_s" or not _trained_alike(group[number], group[other]):
                        partner.setdefault(number, other)
                        partner.setdefault(other, number)
    for number, other in partner.items():
        reason = f"rise and fall as those of {group[other].path} do: a copy with jitter"
        yield group[number], rule, f"epochs.*.{field}", reason
