"""Rules on all records together: none is another one sent again."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

from mnist_gpu.records.facts import facts, limits
from mnist_gpu.records.run import Run

BLOCK = 1024
Together = tuple[Run, str, str, str]
"""The run, the rule, the field and the reason."""


def repeated(runs: Sequence[Run]) -> Iterator[Together]:
    """Whatever speaks against records that is seen only beside others; each of them is named, for
    nothing says which was first."""
    for group in _groups(runs, lambda run: run.record.run_id):
        yield from _named(group, "run_id_unique", "run_id")
    for group in _groups(runs, _times):
        yield from _named(group, "epoch_times_own", "epochs.*.train_s")
    for group in _groups(runs, _length):
        yield from _alike(group)
    for field, of in (("result.weights_sha256", _weights), ("epochs.*.test_loss", _losses)):
        for group in _groups(runs, of):
            if len({_training(run) for run in group}) > 1:
                yield from _named(group, "outcome_own", field)


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


def _times(run: Run) -> Hashable:
    """Sorted: reversed or shuffled times are the same ones."""
    # of a single epoch two runs may agree to the nanosecond by chance
    return (*sorted(run.train_s), *sorted(run.eval_s)) if run.train_s else None


def _length(run: Run) -> Hashable:
    epochs = len(run.train_s)
    return (run.record.workload.model, epochs) if epochs >= limits().alike_from else None


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


def _alike(group: Sequence[Run]) -> Iterator[Together]:
    """Times in the same order of length, forwards or backwards, as only jitter leaves them."""
    import numpy as np

    # the first epoch warms up alike everywhere. Sorting twice gives ranks, and the product of two
    # rows of unit length is their correlation
    times = np.array([run.train_s[1:] for run in group])
    ranks: Any = times.argsort(axis=1).argsort(axis=1).astype(np.float32)
    ranks -= ranks.mean(axis=1, keepdims=True)
    ranks /= np.linalg.norm(ranks, axis=1, keepdims=True)
    partner: dict[int, int] = {}
    # all against all, a block at a time: 10,000 runs would be 400 MB at once
    for start in range(0, len(group), BLOCK):
        block = ranks[start : start + BLOCK]
        # those before have been compared with these
        for others in (ranks[start:], ranks[start:, ::-1]):
            alike = block @ others.T > limits().alike
            np.fill_diagonal(alike, False)  # a run is like itself
            if alike.any():
                for pair in (np.argwhere(alike) + start).tolist():
                    for number, other in (pair, pair[::-1]):
                        partner.setdefault(number, other)
    for number, other in partner.items():
        reason = f"rise and fall as those of {group[other].path} do: a copy with jitter"
        yield group[number], "epoch_times_own", "epochs.*.train_s", reason
