"""The clock of the protocol: phases exclude each other and add up to the whole."""

import pytest

from mnist_gpu.measure.rank import process_age_ns
from mnist_gpu.timing.stopwatch import PHASES, Stopwatch


def test_every_nanosecond_is_credited_to_exactly_one_phase(clock):
    stopwatch = Stopwatch(clock)
    for phase, seconds in (("data", 1.5), ("train", 2.25), ("eval", 0.125), ("train", 4.0)):
        stopwatch.enter(phase)
        clock.passes(seconds)
    totals_ns = stopwatch.totals_ns()
    assert totals_ns["train"] == 6_250_000_000
    assert totals_ns["eval"] == 125_000_000
    assert sum(totals_ns.values()) == clock.now_ns - 1_000
    assert set(totals_ns) == set(PHASES)


def test_work_still_on_the_device_counts_for_the_phase_that_queued_it(clock):
    queued_s = []

    def wait_for_device() -> None:
        clock.passes(sum(queued_s))
        queued_s.clear()

    stopwatch = Stopwatch(clock, wait_for_device)
    stopwatch.enter("train")
    queued_s.append(3.0)
    stopwatch.enter("eval")
    assert stopwatch.seconds("train") == 3.0
    assert stopwatch.seconds("eval") == 0.0


def test_a_block_that_raises_still_returns_to_the_phase_before_it(clock):
    stopwatch = Stopwatch(clock, phase="other")
    with pytest.raises(OSError, match="full"), stopwatch.during("checkpoint"):
        clock.passes(0.5)
        raise OSError("disk full")
    clock.passes(1.0)
    assert stopwatch.phase == "other"
    assert stopwatch.seconds("checkpoint") == 0.5
    assert stopwatch.seconds("other") == 1.0


def test_a_resumed_run_brings_its_earlier_phases_along(clock):
    stopwatch = Stopwatch(clock)
    stopwatch.carry({"train": 5_000_000_000})
    stopwatch.enter("train")
    clock.passes(1.0)
    assert stopwatch.seconds("train") == 6.0


def test_an_unknown_phase_is_refused_by_name(clock):
    with pytest.raises(ValueError, match="lunch"):
        Stopwatch(clock).enter("lunch")


def test_the_age_of_this_process_is_between_nothing_and_a_day():
    first_ns = process_age_ns()
    assert 0 < first_ns < 86_400e9
    assert process_age_ns() >= first_ns
