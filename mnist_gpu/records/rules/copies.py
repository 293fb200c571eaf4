"""Rules on all records together: none is another one sent again."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

from mnist_gpu.records.facts import facts
from mnist_gpu.records.run import Run

JUDGED_FROM = 12
ALIKE = 0.98
BLOCK = 1024
Together = tuple[Run, str, str, str]
"""The run, the rule, the field and the reason."""


def repeated(runs: Sequence[Run]) -> Iterator[Together]:
    """Whatever speaks against records that is seen only beside others; each of them is named, for
    nothing says which was first."""
    yield from _same(runs, lambda run: run.record.run_id, "run_id_unique", "run_id")
    yield from _same(runs, _times, "epoch_times_own", "epochs.*.train_s")
    yield from _alike(runs)
    for field, of in (("result.weights_sha256", _weights), ("epochs.*.test_loss", _losses)):
        for group in _groups(runs, of):
            if len({_training(run) for run in group}) > 1:
                yield from _named(group, "outcome_own", field)


def _groups(runs: Sequence[Run], key: Callable[[Run], Hashable]) -> Iterator[list[Run]]:
    found: dict[Hashable, list[Run]] = defaultdict(list)
    for run in runs:
        if (value := key(run)) is not None:
            found[value].append(run)
    yield from (group for group in found.values() if len(group) > 1)


def _same(
    runs: Sequence[Run], key: Callable[[Run], Hashable], rule: str, field: str
) -> Iterator[Together]:
    for group in _groups(runs, key):
        yield from _named(group, rule, field)


def _named(group: Sequence[Run], rule: str, field: str) -> Iterator[Together]:
    for run in group:
        other = group[1] if run is group[0] else group[0]
        more = f" and {len(group) - 2} more" if len(group) > 2 else ""
        yield run, rule, field, f"is that of {other.path}{more}, too"


def _times(run: Run) -> Hashable:
    """Sorted: reversed or shuffled times are the same ones."""
    # of a single epoch two runs may agree to the nanosecond by chance
    return (*sorted(run.train_s), *sorted(run.eval_s)) if run.train_s else None


def _weights(run: Run) -> Hashable:
    return run.record.result.weights_sha256


def _losses(run: Run) -> Hashable:
    return run.test_loss or None


def _training(run: Run) -> Hashable:
    """What must be equal where weights or losses are: seed and arithmetic, not the machine."""
    engine = run.record.engine.name
    alike = facts("engines")["same_arithmetic"]
    family = next((names[0] for names in alike if engine in names), engine)
    return run.record.workload.seed, family


def _alike(runs: Sequence[Run]) -> Iterator[Together]:
    """Times in the same order of length, forwards or backwards, as only jitter leaves them."""
    long = [run for run in runs if len(run.train_s) >= JUDGED_FROM]
    for group in _groups(long, lambda run: (run.record.workload.model, len(run.train_s))):
        partner = _partners(group)
        for number, other in partner.items():
            reason = f"rise and fall as those of {group[other].path} do: a copy with jitter"
            yield group[number], "epoch_times_own", "epochs.*.train_s", reason


def _partners(group: Sequence[Run]) -> dict[int, int]:
    import numpy as np

    times = np.array([run.train_s[1:] for run in group])
    ranks: Any = times.argsort(axis=1).argsort(axis=1).astype(np.float32)
    ranks -= ranks.mean(axis=1, keepdims=True)
    ranks /= np.linalg.norm(ranks, axis=1, keepdims=True)
    found: dict[int, int] = {}
    for start in range(0, len(group), BLOCK):
        block = ranks[start : start + BLOCK]
        for other in (ranks[start:], ranks[start:, ::-1]):
            rows, columns = np.nonzero(block @ other.T > ALIKE)
            for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
                if row != column:
                    found.setdefault(start + row, start + column)
                    found.setdefault(start + column, start + row)
    return found
