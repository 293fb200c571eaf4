"""Ratios of what was measured side by side, with the interval that chance leaves them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 5000


@dataclass(frozen=True)
class Ratio:
    """A ratio of medians, and its 95 % interval by bootstrap over the pairs."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def paired_ratio(ones: Sequence[float], others: Sequence[float]) -> Ratio:
    """Median of `ones` over median of `others`; number i of both was measured side by side."""
    a, b = np.asarray(ones), np.asarray(others)
    picked = np.random.default_rng(0).integers(len(a), size=(RESAMPLES, len(a)))
    drawn = np.median(a[picked], axis=1) / np.median(b[picked], axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Ratio(float(np.median(a) / np.median(b)), float(low), float(high))
