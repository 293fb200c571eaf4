"""What a handful of runs can say, and how surely: medians, and ratios of medians.

Intervals are bootstrap intervals over the runs (Efron 1979). A resample of n points has the k-th
order statistic of n uniform numbers as the place of its own k-th point, and that is distributed as
Beta(k, n - k + 1); so the median of a resample is drawn directly, whatever n is.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from statistics import fmean, median
from typing import TYPE_CHECKING

from mnist_gpu.numbers import figure
from mnist_gpu.records.run import Run

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]
    Places = npt.NDArray[np.int64]

CONFIDENCE = 0.95
# of two runs, the resamples' medians are the runs themselves and their middle: no interval
ENOUGH = 3
RESAMPLES = 1999
# what may be twice as much as it may be helps nobody to choose
WIDEST = 2.0
DRIFT_EPOCHS = 10
STEPS = 20_000
Interval = tuple[float, float]


@dataclass(frozen=True)
class Sample:
    """What is known of one quantity over the runs of a row.

    Attributes:
        points: one a run.
        written: how a value and its spread are written.
    """

    points: tuple[float, ...]
    written: Callable[[float, float | None], str] = figure

    def __str__(self) -> str:
        return self.written(self.median, self.sd)

    @cached_property
    def median(self) -> float:
        """The middle one."""
        return median(self.points)

    @cached_property
    def sd(self) -> float | None:
        """Standard deviation (n - 1); None for a single run."""
        return stdev(self.points) if len(self.points) > 1 else None

    @cached_property
    def interval(self) -> Interval | None:
        """95 % bootstrap interval of the median; None for fewer than three runs."""
        return None if len(self.points) < ENOUGH else bounds(resampled_medians(self.points))


@dataclass(frozen=True)
class Ratio:
    """How many times the median of one group is that of another.

    Attributes:
        interval: 95 %, None where there is nothing to make it of.
    """

    value: float
    interval: Interval | None

    @property
    def may_be_said(self) -> bool:
        """Whether an interval is there, and no wider than a factor of two."""
        return self.interval is not None and self.interval[1] <= WIDEST * self.interval[0]

    @property
    def tells_apart(self) -> bool:
        """Whether the interval leaves 1 out."""
        return self.interval is not None and not self.interval[0] <= 1 <= self.interval[1]


def ratio(numerator: Sequence[float], denominator: Sequence[float]) -> Ratio:
    """Compare the medians of two groups of positive times; three runs each for an interval."""
    interval = None
    if min(len(numerator), len(denominator)) >= ENOUGH:
        interval = bounds(resampled_medians(numerator) / resampled_medians(denominator, side=1))
    return Ratio(median(numerator) / median(denominator), interval)


def resampled_medians(points: Sequence[float], side: int = 0) -> "Array":
    """Medians of resamples, (RESAMPLES,); of two to be compared each has a `side` of its own."""
    import numpy as np

    ordered = np.sort(np.asarray(points, dtype=float))
    low, high = middle_places(len(points), side)
    drawn: Array = (ordered[low] + ordered[high]) / 2
    return drawn


@lru_cache(maxsize=256)
def middle_places(n: int, side: int) -> "tuple[Places, Places]":
    """Which two of `n` ordered points have the median of each resample between them (for an odd
    `n` the same one twice); (RESAMPLES,) each, always the same."""
    import numpy as np

    # drawn from n and side alone: the same records always give the same page
    random, k = np.random.default_rng((n, side)), (n + 1) // 2
    low = random.beta(k, n - k + 1, RESAMPLES)
    high = low if n % 2 else low + (1 - low) * random.beta(1, n - k, RESAMPLES)
    found = [np.minimum((n * share).astype(int), n - 1) for share in (low, high)]
    return found[0], found[1]


def bounds(values: "Array") -> Interval:
    """The middle 95 % of what resampling gave."""
    import numpy as np

    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def stdev(points: Sequence[float]) -> float:
    """Sample standard deviation (n - 1); the standard library's is exact, and 20 times as slow."""
    if min(points) == max(points):
        return 0.0
    mean = fmean(points)
    return math.sqrt(math.fsum([(point - mean) ** 2 for point in points]) / (len(points) - 1))


def equivalence_p(points: Sequence[float], reference: Sequence[float], margin: float) -> float:
    """TOST (Schuirmann 1987) with Welch's t: how likely the difference is beyond `margin`.

    The larger p of the two one-sided tests. Both samples need two points or more.
    """
    # the larger p is that of the side that is nearer
    difference = abs(fmean(points) - fmean(reference))
    errors = [stdev(values) ** 2 / len(values) for values in (points, reference)]
    # accuracies are whole images: three runs may well have the same
    if not sum(errors):
        return float(difference >= margin)
    freedom = sum(errors) ** 2 / sum(
        error**2 / (len(values) - 1)
        for error, values in zip(errors, (points, reference), strict=True)
    )
    return student_tail((margin - difference) / math.sqrt(sum(errors)), freedom)


def student_tail(t: float, freedom: float) -> float:
    """P(T > t) of Student's t with two degrees of freedom or more.

    With T = sqrt(freedom) tan(angle) the density is a power of the cosine, whose integral to the
    right end is taken by the midpoint rule; above 200 degrees the normal distribution is as good.
    """
    if freedom > 200:
        return math.erfc(t / math.sqrt(2)) / 2

    def integral(low: float) -> float:
        import numpy as np

        step = (math.pi / 2 - low) / STEPS
        middles = low + step * (np.arange(STEPS) + 0.5)
        return step * float(np.sum(np.cos(middles) ** (freedom - 1)))

    return integral(math.atan(t / math.sqrt(freedom))) / integral(-math.pi / 2)


def drift(run: Run) -> float | None:
    """How much longer the last ten epochs took than the first ten after epoch 1; 0.1 is 10 %."""
    # epoch 1 loads and chooses kernels: a fall after it is no drift
    times = run.train_s[1:]
    if len(times) < 2 * DRIFT_EPOCHS:
        return None
    # medians: one epoch beside a backup is no drift
    before = median(times[:DRIFT_EPOCHS])
    return median(times[-DRIFT_EPOCHS:]) / before - 1 if before else None


def time_to(run: Run, accuracy: float) -> float | None:
    """Training seconds up to the end of the first epoch with `accuracy` on the test set."""
    elapsed_s = 0.0
    for train_s, reached in zip(run.train_s, run.test_accuracy, strict=True):
        elapsed_s += train_s
        # 0.99 as a share of 10,000 images is not always the float 0.99
        if reached >= accuracy - 1e-9:
            return elapsed_s
    return None
