"""The course of a run: hook order, interruption, divergence, observers that fail."""

import pytest

from mnist_gpu.protocol.workload import Metrics
from mnist_gpu.timing.stopwatch import Stopwatch
from mnist_gpu.timing.timeline import Diverged, Interrupted, Observer, Timeline
from tests.timing.clock import FakeClock

GOOD = Metrics(0.1, 0.9)


class Noting(Observer):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def began(self, timeline: Timeline) -> None:
        self.seen.append("began")

    def progressed(self, epoch: int, step: int) -> None:
        self.seen.append(f"step {epoch}.{step}")

    def epoch_ended(self, row) -> None:
        self.seen.append(f"epoch {row.epoch}")

    def ended(self, timeline: Timeline) -> None:
        self.seen.append("ended")


def train_one(timeline: Timeline, clock: FakeClock, epoch: int, train_s: float, eval_s: float):
    timeline.training(epoch)
    clock.passes(train_s)
    timeline.progressed(1)
    timeline.trained()
    clock.passes(eval_s)
    timeline.evaluated(GOOD, Metrics(0.2, 0.8))


def test_an_epochs_training_and_evaluation_are_timed_apart():
    clock = FakeClock()
    timeline = Timeline(Stopwatch(clock), 2)
    train_one(timeline, clock, 1, 3.0, 0.5)
    clock.passes(10.0)
    train_one(timeline, clock, 2, 2.0, 0.25)
    assert [(row.train_s, row.eval_s) for row in timeline.history] == [(3.0, 0.5), (2.0, 0.25)]
    assert timeline.stopwatch.seconds("train") == 5.0
    assert timeline.stopwatch.seconds("other") == 10.0
    assert timeline.history[1].test_accuracy == 0.8


def test_observers_hear_of_everything_in_order():
    clock, observer = FakeClock(), Noting()
    timeline = Timeline(Stopwatch(clock), 1, [observer])
    timeline.began()
    train_one(timeline, clock, 1, 1.0, 1.0)
    timeline.ended()
    assert observer.seen == ["began", "step 1.1", "epoch 1", "ended"]


def test_a_failing_observer_is_dropped_and_training_goes_on(caplog):
    class Broken(Observer):
        def progressed(self, epoch: int, step: int) -> None:
            raise OSError("no space left")

    clock, witness = FakeClock(), Noting()
    timeline = Timeline(Stopwatch(clock), 1, [Broken(), witness])
    train_one(timeline, clock, 1, 1.0, 1.0)
    assert "epoch 1" in witness.seen
    assert "no space left" in caplog.text


def test_a_failing_vital_observer_ends_the_run():
    class Vital(Observer):
        vital = True

        def epoch_ended(self, row) -> None:
            raise OSError("no space left")

    clock = FakeClock()
    with pytest.raises(OSError, match="no space left"):
        train_one(Timeline(Stopwatch(clock), 1, [Vital()]), clock, 1, 1.0, 1.0)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_the_run_as_diverged(loss):
    timeline = Timeline(Stopwatch(FakeClock()), 1)
    timeline.training(1)
    with pytest.raises(Diverged, match="epoch 1"):
        timeline.evaluated(Metrics(loss, 0.1), GOOD)


def test_a_signal_ends_the_epoch_at_the_next_execution():
    timeline = Timeline(Stopwatch(FakeClock()), 1)
    timeline.training(1)
    timeline.interrupted_by = 15
    with pytest.raises(Interrupted) as ended:
        timeline.progressed(67)
    assert ended.value.signum == 15


def test_time_of_an_abandoned_epoch_is_not_training_time():
    clock = FakeClock()
    timeline = Timeline(Stopwatch(clock), 3)
    train_one(timeline, clock, 1, 2.0, 1.0)
    timeline.training(2)
    clock.passes(7.0)
    timeline.abandoned()
    assert timeline.stopwatch.seconds("train") == 2.0
    assert timeline.stopwatch.seconds("other") == 7.0


def test_a_resumed_run_goes_on_after_its_last_finished_epoch():
    clock = FakeClock()
    first = Timeline(Stopwatch(clock), 3)
    train_one(first, clock, 1, 2.0, 1.0)
    carried_ns = first.stopwatch.totals_ns()
    clock.passes(3600.0)
    resumed = Stopwatch(clock)
    resumed.carry(carried_ns)
    second = Timeline(resumed, 3, history=first.history)
    assert list(second.remaining()) == [2, 3]
    train_one(second, clock, 2, 2.5, 1.0)
    assert second.history[1].train_s == 2.5
    assert second.stopwatch.seconds("train") == 4.5


def test_the_hosts_wait_for_each_batch_is_counted_within_training():
    clock = FakeClock()
    timeline = Timeline(Stopwatch(clock), 1)

    def loader():
        for wait_s in (0.25, 0.5):
            clock.passes(wait_s)
            yield "batch"
        clock.passes(0.125)  # finding out that there is no more

    timeline.training(1)
    for _ in timeline.batches(loader()):
        clock.passes(2.0)
    timeline.trained()
    timeline.evaluated(GOOD, GOOD)
    [row] = timeline.history
    assert (row.train_s, row.data_wait_s) == (4.875, 0.875)


def test_an_engine_that_hands_its_batches_to_nobody_has_no_wait():
    clock = FakeClock()
    timeline = Timeline(Stopwatch(clock), 1)
    train_one(timeline, clock, 1, 1.0, 1.0)
    assert timeline.history[0].data_wait_s is None
