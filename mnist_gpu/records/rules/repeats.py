"""Whether the times of a run repeat themselves: fewer were measured, and the others are copies."""

from collections.abc import Sequence
from typing import Any

from mnist_gpu.records.facts import limits

# a record may hold 100,000 epochs
MOST_TIMES = 2000


def repetition(times: Sequence[float]) -> str | None:
    """Where the times are copies of one another but for a jitter, in words; None of measured ones.

    Measured times differ from each other as much as neighbours do, and copies far less. Times that
    rise, or alternate, are no copies: their order within is by chance.

    Args:
        times: seconds, an epoch each.
    """
    import numpy as np

    series = np.asarray(times[:MOST_TIMES])
    steps_s = np.abs(np.diff(series))
    near_s = _near_s(steps_s)
    for odd in (0, 1):
        # the steps from one pair to the next
        if _copies(series[odd:-1:2], series[odd + 1 :: 2], _near_s(steps_s[1 - odd :: 2])):
            return "in pairs of epochs"
    # who is near whom, all at once: only few lags and centres are worth a closer look
    near = np.abs(series[:, None] - series) < near_s
    one, other = np.nonzero(near)
    one, other = one[other - one > 1], other[other - one > 1]
    for lag in _frequent(other - one):
        if _copies(series[lag:], series[:-lag], near_s):
            return f"every {lag} epochs"
    for centre in _frequent(one + other):
        half = np.arange(max(0, centre - len(series) + 1), (centre + 1) // 2)
        if _copies(series[half], series[centre - half], near_s):
            return "forwards and backwards"
    return None


def _frequent(places: Any) -> list[int]:
    import numpy as np

    found: list[int] = np.flatnonzero(np.bincount(places) >= limits().alike_from).tolist()
    return found


def _near_s(steps_s: Any) -> float:
    import numpy as np

    # the median; NumPy's own takes ten times as long on so few
    return float(limits().copy_share * np.sort(steps_s)[len(steps_s) // 2])


def _copies(one: Any, other: Any, near_s: float) -> bool:
    """Whether half of a series or more is another one but for a jitter, in size and in order."""
    import numpy as np

    near = np.abs(one - other) < near_s
    if near.sum() < max(limits().alike_from, len(one) / 2):
        return False
    ranks = (series[near].argsort().argsort() for series in (one, other))
    return float(np.corrcoef(*ranks)[0, 1]) > limits().alike
