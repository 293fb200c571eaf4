"""The statistics against numbers in print, and against what they say they are."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mnist_gpu.numbers import figure, percent, seconds, times
from mnist_gpu.records.run import Run
from mnist_gpu.report.judgement import gate, notes
from mnist_gpu.report.rows import NOT_JUDGED, NOT_SHOWN, PASSES, group_runs
from mnist_gpu.report.statistics import (
    Sample,
    drift,
    equivalence_p,
    ratio,
    resampled_medians,
    student_tail,
    time_to,
)
from tests.records import make_record
from tests.summaries import summary_of

FIVE = (92.1, 91.4, 93.0, 92.6, 91.9)
OTHER = (101.3, 99.8, 100.9, 100.2, 102.0)


def run_of(**changes):
    return Run.of(Path("record.json"), make_record(**changes))


def group_of(accuracies):
    """A row whose runs have these accuracies."""
    runs = [run_of(seed=seed, accuracy=value) for seed, value in enumerate(accuracies)]
    (group,) = group_runs(runs)
    return group


def test_a_sample_is_described_as_numpy_describes_it():
    found = Sample(FIVE)
    assert found.median == np.median(FIVE)
    assert found.sd == pytest.approx(np.std(FIVE, ddof=1), abs=1e-12)
    assert Sample((1.0,)).sd is None


@pytest.mark.parametrize("n", [3, 4, 5, 8])
def test_medians_of_resamples_are_those_of_resampling_itself(n):
    points = np.sort(np.random.default_rng(7).normal(100, 5, n))
    plain = np.median(np.random.default_rng(8).choice(points, (40_000, n)), axis=1)
    drawn = np.concatenate([resampled_medians(points, side) for side in range(20)])
    for share in (0.025, 0.25, 0.5, 0.75, 0.975):
        # in ranks, because medians of few points take few values
        assert np.mean(drawn <= np.quantile(plain, share)) == pytest.approx(
            np.mean(plain <= np.quantile(plain, share)), abs=0.02
        )


def test_the_interval_of_a_sample_depends_on_its_points_alone_and_takes_three():
    assert Sample(FIVE).interval == Sample(FIVE[::-1]).interval
    low, high = Sample(FIVE).interval
    assert min(FIVE) <= low < Sample(FIVE).median < high <= max(FIVE)
    assert Sample(FIVE[:2]).interval is None
    assert Sample((3.0,) * 5).interval == (3.0, 3.0)


def test_a_ratio_is_that_of_the_medians_whatever_one_outlier_does():
    found = ratio((*OTHER[:4], 900.0), FIVE)
    assert found.value == np.median((*OTHER[:4], 900.0)) / np.median(FIVE)
    assert ratio(OTHER, FIVE).tells_apart
    assert ratio(OTHER, FIVE).may_be_said
    assert not ratio(FIVE, FIVE).tells_apart


def test_the_two_sides_of_a_ratio_are_resampled_apart():
    low, high = ratio(FIVE, FIVE).interval
    assert low < 1 < high


def test_a_ratio_of_fewer_than_three_runs_or_wider_than_two_is_not_said():
    assert ratio((10.0, 11.0), FIVE).interval is None
    assert not ratio((10.0, 11.0), FIVE).may_be_said
    assert not ratio((10.0, 15.0, 40.0), FIVE).may_be_said


def test_the_intervals_of_a_ratio_hold_the_truth_about_as_often_as_they_say():
    random, held = np.random.default_rng(3), 0
    for _ in range(300):
        interval = ratio(random.normal(200, 4, 9), random.normal(100, 2, 9)).interval
        held += interval[0] <= 2 <= interval[1]
    assert held >= 0.9 * 300


@pytest.mark.parametrize(
    ("t", "freedom", "p"),
    # Fisher and Yates, Statistical Tables (1938), table III, halved
    [(2.920, 2, 0.05), (4.303, 2, 0.025), (2.132, 4, 0.05), (4.604, 4, 0.005), (1.812, 10, 0.05)],
)
def test_students_tail_is_that_of_the_printed_tables(t, freedom, p):
    assert student_tail(t, freedom) == pytest.approx(p, rel=1e-3)
    assert student_tail(-t, freedom) == pytest.approx(1 - p, rel=1e-3)


def test_students_tail_meets_the_normal_one():
    assert student_tail(1.645, 200) == pytest.approx(student_tail(1.645, 201), rel=0.02)
    assert student_tail(1.96, 10_000) == pytest.approx(0.025, rel=1e-3)


def test_equivalence_is_two_one_sided_welch_tests():
    reference = (0.9912, 0.9915, 0.9909, 0.9913)
    groups = [(0.9910, 0.9916, 0.9911), (0.9870, 0.9881, 0.9875), (0.9885, 0.9891, 0.9879)]
    passed = [equivalence_p(group, reference, 0.003) < 0.05 for group in groups]
    assert passed == [True, False, False]
    stats = pytest.importorskip("scipy.stats")
    for group in groups:
        shifted = np.array(group)
        above = stats.ttest_ind(shifted + 0.003, reference, equal_var=False, alternative="greater")
        below = stats.ttest_ind(shifted - 0.003, reference, equal_var=False, alternative="less")
        expected = max(above.pvalue, below.pvalue)
        assert equivalence_p(group, reference, 0.003) == pytest.approx(expected, rel=1e-6)


def test_equivalence_without_any_spread_is_the_difference_itself():
    assert equivalence_p((0.99,) * 3, (0.99,) * 3, 0.003) == 0.0
    assert equivalence_p((0.98,) * 3, (0.99,) * 3, 0.003) == 1.0


def passing(n, difference, draws=400):
    """The share of rows of n runs that pass, `difference` points away from five reference runs."""
    random, passed = np.random.default_rng((n, 1)), 0
    for _ in range(draws):
        reference = dict(enumerate(random.normal(0.9915, 0.0006, 5)))
        accuracies = np.round(random.normal(0.9915 - difference / 100, 0.0006, n), 4)
        group = GROUPS[n]
        group.__dict__["accuracy"] = Sample(tuple(accuracies))
        passed += gate(group, reference).outcome == PASSES
    return passed / draws


GROUPS = {n: group_of([0.99] * n) for n in (1, 2, 3, 5, 10)}


def test_sending_fewer_runs_does_not_pass_more_easily():
    for difference in (0.0, 0.1, 0.2):
        shares = [passing(n, difference) for n in (1, 2, 3, 5, 10)]
        assert shares[:2] == [0, 0]
        assert shares[2] <= shares[3] + 0.02 <= shares[4] + 0.04
    for difference in (0.3, 0.35, 0.6):
        assert all(passing(n, difference) <= 0.08 for n in (1, 2, 3, 5, 10))
    assert passing(5, 0.0) > 0.95


def test_the_gate_has_three_outcomes():
    reference = {"a": 0.9912, "b": 0.9914, "c": 0.9913}
    assert gate(group_of([0.9911, 0.9913, 0.9912]), reference).outcome == PASSES
    assert gate(group_of([0.981, 0.982, 0.9815]), reference).outcome == NOT_SHOWN
    assert gate(group_of([0.9911, 0.9913]), reference).outcome == NOT_JUDGED
    assert gate(group_of([0.9911, 0.9913, 0.9912]), {}).outcome == NOT_JUDGED


def test_a_row_that_is_its_own_reference_says_so():
    group = group_of([0.9911, 0.9913, 0.9912])
    reference = {run.record.run_id: run.test_accuracy[-1] for run in group.runs}
    found = gate(group, reference)
    assert (found.outcome, found.basis) == (PASSES, "its own reference (n = 3)")


def test_runs_that_join_the_reference_are_judged_beside_it():
    group = group_of([0.9911, 0.9913, 0.9912, *[0.981, 0.982, 0.9815] * 3])
    reference = {run.record.run_id: run.test_accuracy[-1] for run in group.runs[:3]}
    assert gate(group, reference).outcome == NOT_SHOWN


def test_a_seed_that_is_sent_again_and_again_counts_once():
    group = group_of([0.9911, 0.9912, 0.9913, 0.9912])
    reference = {"a": 0.9912, "b": 0.9914, "c": 0.9913}
    assert gate(group, reference).outcome == PASSES
    for number, run in enumerate(group.runs):
        work = run.record.workload.model_copy(update={"seed": number % 2})
        record = run.record.model_copy(update={"workload": work})
        group.runs[number] = replace(run, record=record)
    found = gate(group, reference)
    assert (found.outcome, found.basis) == (NOT_JUDGED, "2 seeds, and it takes 3")


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


def noted(epochs_of):
    """The notes on a row whose runs have these epoch times."""
    (group,) = group_runs(run_of(seed=seed) for seed in range(len(epochs_of)))
    group.runs = [
        Run(run.path, run.record, tuple(times), *run_columns(run))
        for run, times in zip(group.runs, epochs_of, strict=True)
    ]
    group.train_s = Sample(tuple(map(math.fsum, epochs_of)))
    return list(notes(group))


def run_columns(run):
    return (run.eval_s, run.train_loss, run.train_accuracy, run.test_loss, run.test_accuracy)


def slowing(factor):
    return [9.0] * 40 + [9.0 * factor] * 10


def test_a_row_says_how_many_of_its_epochs_waited_for_tensorflows_pipeline():
    waits = {f"epochs__{n}__train_s": s for n, s in ((3, 20.51), (7, 20.5), (9, 20.8))}
    for engine, said in (("tensorflow", True), ("torch", False)):
        [row] = summary_of(make_record(engine=engine, **waits)).rows
        line = "2 of 50 epochs ended in a wait for TensorFlow's data pipeline"
        assert (line in row.notes) == said


def test_a_row_whose_runs_all_slow_down_is_drifting():
    steady = run_of()
    assert abs(drift(steady)) < 0.01
    assert drift(run_of(epochs=20)) is None
    (note,) = noted([slowing(1.2), slowing(1.1), slowing(1.15)])
    assert note.startswith("drifting: the last ten epochs took +15% against the first ten")


def test_one_bad_run_or_noise_of_both_signs_is_no_drift():
    assert not noted([slowing(1.01), slowing(1.02), slowing(1.3)])
    assert not noted([slowing(1.12), slowing(0.93), slowing(1.10)])


def test_stationary_noise_is_seldom_called_drift():
    random = np.random.default_rng(5)
    flagged = sum(
        any("drifting" in note for note in noted(np.abs(random.normal(9, 0.9, (5, 50))).tolist()))
        for _ in range(40)
    )
    assert flagged <= 2


def test_few_runs_and_a_wide_spread_are_said():
    assert noted([[9.0] * 50] * 2) == ["n = 2: no spread to judge by"]
    assert noted([[9.0] * 50, [12.0] * 50, [15.0] * 50]) == ["spread of 25% over the runs"]


def test_time_to_an_accuracy_is_the_sum_up_to_the_first_epoch_that_has_it():
    run = run_of(epoch_s=10.0)
    assert run.test_accuracy[1] < 0.972 <= run.test_accuracy[2]
    assert time_to(run, 0.972) == math.fsum(run.train_s[:3])
    assert time_to(run, 0.9999) is None
