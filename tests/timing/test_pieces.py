"""A minute in pieces says what a whole training takes, and how sure that is."""

import numpy as np
import pytest

from mnist_gpu.protocol.workload import Metrics
from mnist_gpu.timing.pieces import Enough, Piece, Pieces, extrapolate
from mnist_gpu.timing.stopwatch import Stopwatch
from mnist_gpu.timing.timeline import Timeline
from tests.timing.clock import FakeClock

STEPS = 938


def training(
    step_s, epochs: int, budget_s: float | None = None, end_s=lambda epoch: 0
) -> list[Piece]:
    """Pieces of a training whose step `n` takes `step_s(n)`, each epoch beginning with 2 s and
    ending with `end_s(epoch)`."""
    clock = FakeClock()
    pieces = Pieces(STEPS, budget_s)
    timeline = Timeline(Stopwatch(clock), 50, [pieces])
    timeline.began()
    try:
        for epoch in range(1, epochs + 1):
            timeline.training(epoch)
            clock.passes(2)
            for step in range(1, STEPS + 1):
                clock.passes(step_s((epoch - 1) * STEPS + step))
                timeline.progressed(step)
            clock.passes(end_s(epoch))
            timeline.trained()
            clock.passes(10)
            timeline.evaluated(Metrics(1.0, 0.5), Metrics(1.0, 0.5))
    except Enough:
        pass
    return pieces.pieces


@pytest.mark.parametrize("budget_s", [30, 60, 300])
def test_an_even_training_is_extrapolated_to_what_it_takes(budget_s):
    pieces = training(lambda _: 0.05, 50, budget_s)
    assert sum(piece.train_s for piece in pieces) == pytest.approx(budget_s, rel=0.12)
    found = extrapolate(pieces, STEPS, 50)
    truth = 50 * (2 + STEPS * 0.05)
    assert found.train_s == pytest.approx(truth, rel=0.01)
    assert found.low_s < truth < found.high_s
    # nothing scattered: what is left is what a minute cannot know
    assert (found.high_s - found.low_s) / 2 / truth == pytest.approx(0.12, abs=0.01)


def test_evaluation_is_no_part_of_a_piece():
    pieces = training(lambda _: 0.05, 2)
    assert sum(piece.train_s for piece in pieces) == pytest.approx(2 * (2 + STEPS * 0.05))
    assert sum(piece.steps for piece in pieces) == 2 * STEPS


def test_a_slow_first_epoch_is_counted_once():
    pieces = training(lambda step: 0.05 if step <= STEPS else 0.01, 3)
    truth = 50 * 2 + STEPS * 0.05 + 49 * STEPS * 0.01
    assert extrapolate(pieces, STEPS, 50).train_s == pytest.approx(truth, rel=0.01)


def test_a_wait_at_the_end_of_the_only_epoch_seen_may_come_back_always_or_never():
    epoch_s = 2 + STEPS * 0.04
    found = extrapolate(training(lambda _: 0.04, 2, 90, end_s=lambda _: 38), STEPS, 50)
    assert found.train_s == pytest.approx(50 * (epoch_s + 19), rel=0.01)
    assert found.low_s < 50 * epoch_s
    assert found.high_s > 50 * (epoch_s + 38)


def test_a_wait_that_the_framework_is_known_for_is_in_the_longest_time():
    pieces = training(lambda _: 0.04, 1, 60)
    asked = []

    def until_82_s(epoch_s: float) -> float:
        asked.append(epoch_s)
        return 82 - epoch_s

    plain, found = extrapolate(pieces, STEPS, 50), extrapolate(pieces, STEPS, 50, until_82_s)
    assert (found.train_s, found.low_s) == (plain.train_s, plain.low_s)
    assert found.high_s == pytest.approx(50 * 82)
    assert (plain.waits, found.waits) == (False, True)
    # an epoch that is slower than these pieces may miss what would have ended a shorter wait
    assert asked == [pytest.approx(plain.train_s / 50), pytest.approx(plain.high_s / 50)]


@pytest.mark.parametrize(("end_s", "counted_s"), [(None, 8.0), (0.0, 4.0), (38.0, 23.0)])
def test_waits_of_the_framework_that_were_not_seen_count_as_often_as_they_are_known_to_come(
    end_s, counted_s
):
    seconds = (1, 30) if end_s is None else (2, 90)
    pieces = training(lambda _: 0.04, *seconds, end_s=lambda _: end_s or 0)
    found = extrapolate(pieces, STEPS, 50, lambda epoch_s: 20.0, 0.4)
    epoch_s = 2 + STEPS * 0.04
    assert found.train_s == pytest.approx(50 * (epoch_s + counted_s), rel=0.01)
    assert found.low_s < 50 * epoch_s < 50 * (epoch_s + 20) < found.high_s
    assert found.waits


def test_of_epochs_whose_ends_were_seen_nothing_more_is_feared():
    pieces = training(lambda _: 0.01, 9)
    plain = extrapolate(pieces, STEPS, 50)
    assert extrapolate(pieces, STEPS, 50, lambda epoch_s: 99.0, 0.4) == plain


def test_waits_at_the_ends_of_several_epochs_are_expected_of_the_others():
    pieces = training(lambda _: 0.01, 9, end_s=lambda epoch: 4 * (epoch % 2))
    found = extrapolate(pieces, STEPS, 50)
    truth = 50 * (2 + STEPS * 0.01 + 2)
    assert found.train_s == pytest.approx(truth, rel=0.01)
    assert (found.high_s - found.low_s) / 2 / found.train_s < 0.15


def test_a_training_that_slows_down_has_a_wider_interval():
    def half_width(pieces) -> float:
        found = extrapolate(pieces, STEPS, 50)
        return (found.high_s - found.low_s) / 2 / found.train_s

    even = half_width(training(lambda _: 0.05, 1))
    assert half_width(training(lambda step: 0.04 + 0.02 * step / STEPS, 1)) > 1.5 * even


def test_an_interval_that_is_wider_than_its_middle_begins_above_nothing():
    # the machine is a hundred times slower for the second half of what is seen
    found = extrapolate(training(lambda n: 0.001 if n < STEPS / 2 else 0.1, 1), STEPS, 50)
    assert found.high_s > 2 * found.train_s
    assert found.low_s > found.train_s / 10


def test_nine_intervals_of_ten_hold_the_truth_where_steps_are_noisy():
    held = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        # minutes differ from each other, and steps within them
        minutes = rng.normal(1, 0.03, 60)
        steps = rng.gamma(16, 0.05 / 16, 1200)
        found = extrapolate(
            training(lambda n, m=minutes, s=steps: m[0] * s[n % 1200], 1), STEPS, 50
        )
        truth = 50 * (2 + STEPS * 0.05 * minutes.mean())
        held += found.low_s <= truth <= found.high_s
    assert 50 <= held <= 60


def test_too_little_training_is_no_estimate():
    with pytest.raises(ValueError, match="two pieces"):
        extrapolate([Piece(1, 10, 1.0)], STEPS, 50)
