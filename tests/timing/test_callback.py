"""The timing callback under the real Trainer, on a fake clock and a fake device."""

import lightning.pytorch as L
import pytest
from lightning.pytorch.callbacks import ModelCheckpoint

from mnist_gpu.timing.callback import TimingCallback
from mnist_gpu.timing.ledger import Ledger
from tests.timing.scenarios import SCENARIOS, logging_at_every_step
from tests.timing.scripted_fit import (
    EVALUATION,
    PHASES,
    PREPARE,
    SETUP,
    VAL_END,
    Module,
    Samples,
    SlowLogger,
    counts,
    expected,
    loader,
    refit,
    row,
    timed,
    trainer,
)


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_nanosecond_is_where_the_script_says(world, name):
    counted, wanted = SCENARIOS[name](world)
    assert counted == wanted


# -- without one of its hooks, or one of the methods that it wraps, the numbers are others ---------

NEEDED_BY = {
    "log": "plain",
    "on_train_start": "plain",
    "on_train_batch_start": "plain",
    "on_train_batch_end": "plain",
    "on_exception": "ArithmeticError in train",
    "state_dict": "resumed_at_an_epochs_edge",
    "load_state_dict": "resumed_within_an_epoch",
    "epoch_loop.run": "without_validation",
    "val_loop.run": "validation_within_the_epoch",
    "save_checkpoint": "checkpoints_at_the_epochs_end",
    "remove_checkpoint": "checkpoints_and_loggers",
    "save": "logging_at_every_step",
    "after_save_checkpoint": "checkpoints_and_loggers",
    "log_metrics": "logging_at_every_step",
    "describe": "checkpoints_and_loggers",
    "val_loop.teardown": "failure_with_a_checkpoint",
    "the device": "plain",
    "the place among callbacks": "other_callbacks",
    "the own state's mark": "search_for_a_learning_rate",
}


def take_away(what: str, monkeypatch) -> None:
    """Make one thing that the callback relies on do nothing."""
    if what == "log":
        monkeypatch.setattr(TimingCallback, "log", None)
    elif what == "the device":
        monkeypatch.setattr("mnist_gpu.timing.callback.synchronise", lambda device: None)
    elif what == "the place among callbacks":
        monkeypatch.setattr("mnist_gpu.timing.callback.Checkpoint", L.Callback)
    elif what == "the own state's mark":
        state = Ledger.state
        monkeypatch.setattr(Ledger, "state", lambda self: {**state(self), "id": ""})
    elif hasattr(TimingCallback, what):
        monkeypatch.setattr(TimingCallback, what, getattr(L.Callback, what))
    else:
        around = TimingCallback._around

        def without(self, owner, name, context):
            loop = {"_TrainingEpochLoop": "epoch_loop.", "_EvaluationLoop": "val_loop."}
            if what not in (name, loop.get(type(owner).__name__, "") + name):
                around(self, owner, name, context)

        monkeypatch.setattr(TimingCallback, "_around", without)


@pytest.mark.parametrize("what", NEEDED_BY)
def test_without_any_one_of_its_hooks_a_scenario_would_fail(world, monkeypatch, what):
    take_away(what, monkeypatch)
    try:
        counted, wanted = SCENARIOS[NEEDED_BY[what]](world)
    except (AssertionError, IndexError, TypeError):
        return
    assert counted != wanted


# -- what the numbers are for ---------------------------------------------------------------------


def test_the_device_is_waited_for_at_edges_only(world):
    timed(world, Module(world, batches=3), max_epochs=2)
    first = world.waits
    timed(world, Module(world, batches=30), max_epochs=2)
    # into and out of training, into and out of validation
    assert world.waits - first == first == 2 * 4


def test_a_logger_at_every_step_does_not_make_the_device_wait(world):
    logging_at_every_step(world)
    assert world.waits == 2 * 4


def test_a_second_fit_starts_from_nothing(world):
    timing = TimingCallback(clock=world.clock)
    made = trainer(world, timing, max_epochs=1)
    first = refit(world, made, timing, Module(world))
    made.fit_loop.max_epochs = 2
    second = refit(world, made, timing, Module(world))
    assert first == expected(row(1, 4))
    assert second == expected(row(2, 4))


def test_a_fit_by_another_trainer_starts_from_nothing(world):
    timing = TimingCallback(clock=world.clock)
    for _ in range(2):
        assert timed(world, Module(world), timing=timing) == expected(row(1, 4), row(2, 4))


def test_a_state_loaded_by_hand_is_where_the_next_fit_starts(world):
    first, second = (TimingCallback(clock=world.clock) for _ in range(2))
    once = timed(world, Module(world), timing=first)
    second.load_state_dict(first.state_dict())
    made = trainer(world, second)
    twice = refit(world, made, second, Module(world), carried_ns=sum(once[p] for p in PHASES))
    assert twice["train"] == 2 * once["train"]
    assert second.summary()["segments"] == 2
    # for that fit alone
    assert refit(world, trainer(world, second), second, Module(world)) == once


@pytest.mark.parametrize("call", ["validate", "test", "predict"])
def test_an_evaluation_alone_is_timed_apart_from_any_fit(world, call):
    timing = TimingCallback(clock=world.clock)
    module = Module(world)
    arguments = {} if call == "predict" else {"verbose": False}
    getattr(trainer(world, timing), call)(module, **arguments)
    (told,) = timing.summary()["evaluations"]
    evaluation = EVALUATION - (0 if call == "validate" else VAL_END)
    assert told["call"] == call
    assert told["status"] == "completed"
    assert round(told["eval_s"] * 1e9) == evaluation
    assert round(told["total_s"] * 1e9) == PREPARE + SETUP + evaluation
    assert timing.summary()["total_s"] == 0
    assert timing.summary()["status"] == "not started"


def test_a_test_from_the_fits_own_checkpoint_leaves_the_fits_numbers_alone(world):
    timing = TimingCallback(clock=world.clock)
    made = trainer(world, timing, ModelCheckpoint(world.folder / "kept"))
    counted = refit(world, made, timing, Module(world))
    made.test(Module(world), ckpt_path="best", verbose=False, weights_only=False)
    assert counts(timing) == counted
    assert timing.summary()["segments"] == 1
    assert [told["call"] for told in timing.summary()["evaluations"]] == ["test"]


def test_an_evaluation_that_fails_says_so(world):
    timing = TimingCallback(clock=world.clock)
    module = Module(world)
    module.raises["eval"] = ArithmeticError()
    with pytest.raises(ArithmeticError):
        trainer(world, timing).validate(module, verbose=False)
    (told,) = timing.summary()["evaluations"]
    assert (told["status"], told["exception"]) == ("failed", "ArithmeticError")
    assert round(told["eval_s"] * 1e9) == EVALUATION - VAL_END


def test_a_device_that_is_lost_does_not_hide_what_happened(world, monkeypatch):
    def lost(device):
        if module.seen["train"] == 2:
            raise RuntimeError("the device is gone")

    monkeypatch.setattr("mnist_gpu.timing.callback.synchronise", lost)
    module = Module(world)
    module.raises["train"] = ArithmeticError("the kernel failed")
    with pytest.raises(ArithmeticError, match="kernel failed"):
        trainer(world, TimingCallback(clock=world.clock)).fit(module)


def test_two_of_them_count_the_same(world):
    class Second(TimingCallback):
        pass

    timing, second = TimingCallback(clock=world.clock), Second(clock=world.clock)
    counted = timed(world, Module(world), second, timing=timing, logger=SlowLogger(world))
    for name in ("train", "eval", "wait", "batches", "status"):
        assert counts(second)[name] == counted[name]
    assert counted["train"] == expected(row(1, 4), row(2, 4))["train"]


def test_samples_that_are_not_batched_are_not_counted_as_batches(world):
    module = Module(world)
    module.train_dataloader = lambda: loader(world, Samples(world, 3), batch_size=None)
    counted = timed(world, module, max_epochs=1)
    assert (counted["batches"], counted["images"]) == (3, None)
