"""What a handful of runs can say, and how surely. Intervals and tests are scipy's.

Without scipy (the `report` extra) there are points, medians, means and standard deviations alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from statistics import fmean, median

from mnist_gpu.report.run import Run

CONFIDENCE = 0.95
SIGNIFICANT = 0.05
ENOUGH_FOR_AN_INTERVAL = 5
ENOUGH_FOR_A_TEST = 3
RESAMPLES = 1999
UNSTABLE_SPREAD = 0.10
UNSTABLE_DRIFT = 0.05
DRIFT_EPOCHS = 10


@dataclass(frozen=True)
class Sample:
    """What is known of one quantity over the runs of a group.

    Attributes:
        points: one a run.
        sd: standard deviation (n - 1), None for a single run.
        interval: 95 % bootstrap interval of the mean, None for fewer than five runs.
    """

    points: tuple[float, ...]
    median: float
    mean: float
    sd: float | None
    interval: tuple[float, float] | None = None

    @property
    def n(self) -> int:
        """How many runs."""
        return len(self.points)


@dataclass(frozen=True)
class Ratio:
    """How many times one group's times are those of another.

    Attributes:
        value: ratio of the geometric means.
        interval: 95 % interval (Welch's t on logarithms), None where either has a single run.
        p: two-sided, of the Mann-Whitney rank test, None where n could not reach significance.
        n: runs in either group.
    """

    value: float
    interval: tuple[float, float] | None
    p: float | None
    n: tuple[int, int]


def scipy_is_there() -> bool:
    """Whether intervals and tests can be had."""
    return find_spec("scipy") is not None


def samples(many: Sequence[Sequence[float]]) -> list[Sample]:
    """Summarise many groups at once, which is many times faster than one by one."""
    intervals = bootstrap_intervals(many) if scipy_is_there() else [None] * len(many)
    return [
        Sample(
            tuple(points),
            median(points),
            fmean(points),
            stdev(points) if len(points) > 1 else None,
            interval,
        )
        for points, interval in zip(many, intervals, strict=True)
    ]


def bootstrap_intervals(many: Sequence[Sequence[float]]) -> list[tuple[float, float] | None]:
    """BCa intervals of the mean (Efron 1987), None for groups of fewer than five.

    Groups of one size share a call of `scipy.stats.bootstrap` and its seed, so that an interval
    depends on the points of its own group alone.
    """
    import numpy as np
    from scipy.stats import bootstrap

    found: list[tuple[float, float] | None] = [None] * len(many)
    by_size: dict[int, list[int]] = {}
    for position, points in enumerate(many):
        if len(points) >= ENOUGH_FOR_AN_INTERVAL:
            if min(points) == max(points):
                found[position] = (points[0], points[0])
            else:
                by_size.setdefault(len(points), []).append(position)
    for positions in by_size.values():
        result = bootstrap(
            (np.array([many[position] for position in positions]),),
            np.mean,
            axis=1,
            n_resamples=RESAMPLES,
            batch=100,
            confidence_level=CONFIDENCE,
            method="BCa",
            rng=np.random.default_rng(0),
        ).confidence_interval
        for position, low, high in zip(positions, result.low, result.high, strict=True):
            found[position] = (float(low), float(high))
    return found


def stdev(points: Sequence[float]) -> float:
    """Sample standard deviation (n - 1); the standard library's is exact, and 20 times as slow."""
    if min(points) == max(points):
        return 0.0
    mean = fmean(points)
    return math.sqrt(math.fsum([(point - mean) ** 2 for point in points]) / (len(points) - 1))


def ratio(numerator: Sequence[float], denominator: Sequence[float]) -> Ratio:
    """Compare two groups of positive times, as a ratio with what n allows to say of it."""
    logs = [[math.log(value) for value in points] for points in (numerator, denominator)]
    value = math.exp(fmean(logs[0]) - fmean(logs[1]))
    sizes = (len(numerator), len(denominator))
    interval = p = None
    if scipy_is_there() and min(sizes) > 1:
        from scipy import stats

        if stdev(logs[0]) or stdev(logs[1]):
            test = stats.ttest_ind(*logs, equal_var=False)
            low, high = test.confidence_interval(CONFIDENCE)
            interval = (math.exp(low), math.exp(high))
        if smallest_reachable_p(*sizes) < SIGNIFICANT:
            p = float(stats.mannwhitneyu(numerator, denominator).pvalue)
    return Ratio(value, interval, p, sizes)


def smallest_reachable_p(n: int, m: int) -> float:
    """The two-sided p of the Mann-Whitney test when all of one group lie above the other."""
    return min(1.0, 2 / math.comb(n + m, n))


def equivalence_p(
    groups: Sequence[Sequence[float]], reference: Sequence[float], margin: float
) -> list[float]:
    """TOST (Schuirmann 1987) with Welch's t: how likely each difference is beyond `margin`.

    Each p is the larger of the two one-sided tests'. All groups need at least two points.
    """
    import numpy as np
    from scipy.stats import ttest_ind_from_stats

    mean = np.array([fmean(points) for points in groups])
    sd = np.array([stdev(points) for points in groups])
    n = np.array([len(points) for points in groups])
    other = (fmean(reference), stdev(reference), len(reference))
    with np.errstate(divide="ignore", invalid="ignore"):
        above = ttest_ind_from_stats(
            mean + margin, sd, n, *other, equal_var=False, alternative="greater"
        ).pvalue
        below = ttest_ind_from_stats(
            mean - margin, sd, n, *other, equal_var=False, alternative="less"
        ).pvalue
    p = np.maximum(above, below)
    # no spread at all: the difference is what it is
    certain = (sd == 0) & (other[1] == 0)
    p = np.where(certain, np.where(np.abs(mean - other[0]) < margin, 0.0, 1.0), p)
    return [float(value) for value in p]


def drift(run: Run) -> float | None:
    """How much longer the last ten epochs took than the first ten after epoch 1; 0.1 is 10 %."""
    times = run.train_s[1:]
    if len(times) < 2 * DRIFT_EPOCHS:
        return None
    before = median(times[:DRIFT_EPOCHS])
    return median(times[-DRIFT_EPOCHS:]) / before - 1 if before else None


def doubts(runs: Sequence[Run], sample: Sample) -> list[str]:
    """What casts doubt on the time of a group, in words."""
    found = []
    if sample.n < ENOUGH_FOR_A_TEST:
        found.append(f"n = {sample.n}: no spread to judge by")
    if sample.sd is not None and sample.mean and sample.sd / sample.mean > UNSTABLE_SPREAD:
        found.append(f"unstable: spread of {sample.sd / sample.mean:.0%} over the runs")
    drifts = [found_drift for run in runs if (found_drift := drift(run)) is not None]
    if drifts and abs(worst := max(drifts, key=abs)) > UNSTABLE_DRIFT:
        found.append(f"unstable: the last ten epochs took {worst:+.0%} against the first ten")
    throttled = [
        run for run in runs if (run.record.resources.throttled_s or 0) > 0.01 * _total_s(run)
    ]
    if throttled:
        found.append(f"throttled by the CPU quota in {len(throttled)} of {sample.n} runs")
    warned = sum(bool(run.record.resources.warnings) for run in runs)
    if warned:
        found.append(f"disturbed in {warned} of {sample.n} runs: see their warnings")
    return found


def time_to(run: Run, accuracy: float) -> float | None:
    """Training seconds up to the end of the first epoch with `accuracy` on the test set."""
    elapsed_s = 0.0
    for train_s, reached in zip(run.train_s, run.test_accuracy, strict=True):
        elapsed_s += train_s
        if reached >= accuracy - 1e-9:
            return elapsed_s
    return None


def _total_s(run: Run) -> float:
    return run.record.timing.total_s
