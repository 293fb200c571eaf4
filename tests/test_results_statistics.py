"""The statistics against scipy called plainly, and against worked examples in print."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from mnist_gpu.report import statistics
from mnist_gpu.report.numbers import figure, percent, seconds, times
from mnist_gpu.report.run import Run
from mnist_gpu.report.statistics import (
    bootstrap_intervals,
    doubts,
    drift,
    equivalence_p,
    ratio,
    samples,
    smallest_reachable_p,
    time_to,
)
from tests.records import make_record

FIVE = (92.1, 91.4, 93.0, 92.6, 91.9)
OTHER = (101.3, 99.8, 100.9, 100.2, 102.0)


def run_of(**changes):
    return Run.of(Path("record.json"), make_record(**changes))


def test_a_sample_is_described_as_numpy_describes_it():
    (found,) = samples([FIVE])
    assert found.median == np.median(FIVE)
    assert found.mean == pytest.approx(np.mean(FIVE), abs=1e-12)
    assert found.sd == pytest.approx(np.std(FIVE, ddof=1), abs=1e-12)
    assert found.points == FIVE


def test_the_interval_of_five_runs_is_scipys_bca():
    many = [FIVE, OTHER, (1.0, 2.0), tuple(range(1, 13)), (3.0,) * 5]
    found = bootstrap_intervals(many)
    for position in (0, 1, 3):
        plain = stats.bootstrap(
            (many[position],),
            np.mean,
            n_resamples=statistics.RESAMPLES,
            rng=np.random.default_rng(0),
        ).confidence_interval
        assert found[position] == pytest.approx((plain.low, plain.high), rel=1e-12)
    assert found[2] is None
    assert found[4] == (3.0, 3.0)


def test_the_interval_of_a_group_does_not_depend_on_the_other_groups():
    assert bootstrap_intervals([FIVE])[0] == bootstrap_intervals([OTHER, FIVE, OTHER])[1]


def test_the_ratio_and_its_interval_are_welchs_on_logarithms():
    found = ratio(OTHER, FIVE)
    assert found.value == pytest.approx(stats.gmean(OTHER) / stats.gmean(FIVE))
    test = stats.ttest_ind(np.log(OTHER), np.log(FIVE), equal_var=False)
    expected = np.exp(test.confidence_interval(0.95))
    assert found.interval == pytest.approx(tuple(expected))
    assert found.n == (5, 5)


def test_the_rank_test_is_made_only_where_it_could_be_significant():
    # Mann and Whitney 1947: all of one group above the other has probability 1 / C(n+m, n)
    assert smallest_reachable_p(3, 3) == pytest.approx(0.1)
    assert smallest_reachable_p(5, 5) == pytest.approx(2 / 252)
    assert ratio(OTHER[:3], FIVE[:3]).p is None
    assert ratio(OTHER, FIVE).p == pytest.approx(2 / 252)
    assert ratio(OTHER[:4], FIVE[:4]).p == pytest.approx(2 / 70)


def test_the_rank_test_agrees_with_a_printed_example():
    # Hollander & Wolfe, Nonparametric Statistical Methods (1973), pp. 69f, permeability of the
    # human chorioamnion: one-sided exact p = 0.1272 (the example of R's wilcox.test, too)
    at_term = (0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46)
    early = (1.15, 0.88, 0.90, 0.74, 1.21)
    assert ratio(at_term, early).p == pytest.approx(2 * 0.1272, abs=1e-4)


def test_a_single_run_gives_a_ratio_without_an_interval():
    found = ratio((10.0,), FIVE)
    assert found.interval is None
    assert found.p is None


def test_equal_times_give_a_ratio_without_a_division_by_zero():
    assert ratio((2.0, 2.0), (1.0, 1.0)).value == 2.0
    assert ratio((2.0, 2.0), (1.0, 1.0)).interval is None


def test_equivalence_is_two_one_sided_welch_tests():
    reference = (0.9912, 0.9915, 0.9909, 0.9913)
    groups = [(0.9910, 0.9916, 0.9911), (0.9870, 0.9881, 0.9875), (0.9885, 0.9891, 0.9879)]
    margin = 0.003
    for found, group in zip(equivalence_p(groups, reference, margin), groups, strict=True):
        shifted = np.array(group)
        above = stats.ttest_ind(shifted + margin, reference, equal_var=False, alternative="greater")
        below = stats.ttest_ind(shifted - margin, reference, equal_var=False, alternative="less")
        assert found == pytest.approx(max(above.pvalue, below.pvalue))
    passed = [p < 0.05 for p in equivalence_p(groups, reference, margin)]
    assert passed == [True, False, False]


def test_equivalence_without_any_spread_is_the_difference_itself():
    assert equivalence_p([(0.99,) * 3, (0.98,) * 3], (0.99,) * 3, 0.003) == [0.0, 1.0]


def test_digits_are_those_that_the_spread_supports():
    assert figure(1234.5678, 0.8) == "1,234.6"
    assert figure(1234.5678, 0.13) == "1,234.57"
    assert figure(1234.5678, 45.0) == "1,235"
    assert figure(0.012345) == "0.0123"
    assert figure(0.0) == "0"
    assert seconds(432.123, 0.83) == "432.1 ± 0.8 s"
    assert seconds(432.123) == "432 s"
    assert percent(0.991234, 0.00041) == "99.12 ± 0.04 %"
    assert times(2.3123, (2.28, 2.34)) == "2.31 times (95 % interval 2.28 to 2.34)"


def test_a_slowing_machine_is_noticed():
    steady = run_of()
    assert abs(drift(steady)) < 0.01
    slow = [*steady.train_s[:40], *(value * 1.2 for value in steady.train_s[40:])]
    hot = Run(
        steady.path,
        steady.record,
        tuple(slow),
        steady.eval_s,
        steady.train_loss,
        steady.train_accuracy,
        steady.test_loss,
        steady.test_accuracy,
    )
    assert drift(hot) == pytest.approx(0.2, abs=0.01)
    (sample,) = samples([[1.0, 1.01, 1.02]])
    assert any("last ten epochs took +20%" in doubt for doubt in doubts([hot] * 3, sample))
    assert drift(run_of(epochs=20)) is None


def test_few_runs_and_a_wide_spread_are_said():
    few, wide, fine = samples([[1.0, 1.01], [1.0, 1.3, 1.6], [1.0, 1.01, 1.02]])
    runs = [run_of()]
    assert any("n = 2" in doubt for doubt in doubts(runs, few))
    assert any("spread of 23%" in doubt for doubt in doubts(runs, wide))
    assert doubts(runs, fine) == []


def test_time_to_an_accuracy_is_the_sum_up_to_the_first_epoch_that_has_it():
    run = run_of(epoch_s=10.0)
    assert run.test_accuracy[1] < 0.972 <= run.test_accuracy[2]
    assert time_to(run, 0.972) == math.fsum(run.train_s[:3])
    assert time_to(run, 0.9999) is None


def test_without_scipy_there_are_points_and_spreads(monkeypatch):
    monkeypatch.setattr(statistics, "scipy_is_there", lambda: False)
    (found,) = samples([FIVE])
    assert found.interval is None
    assert found.sd == pytest.approx(np.std(FIVE, ddof=1))
    assert ratio(OTHER, FIVE).interval is None
