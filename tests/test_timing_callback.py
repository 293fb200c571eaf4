"""The timing callback under the real Trainer, on a fake clock and a fake device."""

import json
import pickle
import time
from datetime import timedelta
from unittest import mock

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, LearningRateFinder, ModelCheckpoint

from mnist_gpu.timing.callback import TimingCallback
from mnist_gpu.timing.ledger import Ledger
from mnist_gpu.timing.stopwatch import Stopwatch
from tests.scripted_fit import (
    BATCH,
    CLOSE,
    EVALUATION,
    FETCH,
    FLUSH,
    LOG,
    PHASES,
    PREPARE,
    REMOVE,
    SAVE,
    SETUP,
    STEP,
    UPLOAD,
    VAL_END,
    VAL_FETCH,
    VAL_STEP,
    VAL_WORKERS,
    WORKERS,
    Module,
    Samples,
    SlowLogger,
    Stream,
    World,
    counts,
    loader,
    refit,
    timed,
    trainer,
)

# what a fit does before its first epoch: the first loader's workers are among it
BEFORE = PREPARE + SETUP + WORKERS
WAIT = BATCH * FETCH
# hyperparameters at the start, our own row after each of two epochs, the logger's end
LOGGED = FLUSH + 2 * (LOG + FLUSH) + CLOSE


@pytest.fixture
def world(tmp_path, monkeypatch) -> World:
    return World(tmp_path, monkeypatch)


def row(epoch: int, batches: int, evaluations: int = 1, workers: int = 1, **others: int) -> tuple:
    """(epoch, train, wait, eval, checkpoint, other) of an epoch in which nothing else happens."""
    wait = batches * WAIT + (workers * WORKERS if epoch > 1 else 0)
    return (
        epoch,
        batches * STEP + wait,
        wait,
        evaluations * EVALUATION,
        others.get("checkpoint", 0),
        others.get("other", 0),
    )


def expected(*rows: tuple, checkpoint: int = 0, other: int = 0, **differing) -> dict:
    """What a fit of these epochs counts; `checkpoint` and `other` are those between the epochs."""
    batches = sum((train - wait) // STEP for _, train, wait, *_ in rows)
    return {
        "train": sum(r[1] for r in rows),
        "wait": sum(r[2] for r in rows),
        "eval": sum(r[3] for r in rows),
        "checkpoint": checkpoint + sum(r[4] for r in rows),
        "other": BEFORE + other + sum(r[5] for r in rows),
        "batches": batches,
        "steps": batches,
        "images": batches * BATCH,
        "rows": list(rows),
        "status": "completed",
        **differing,
    }


# -- one scenario after the other: what was counted, what the script says -------------------------


def plain(world):
    return timed(world, Module(world)), expected(row(1, 4), row(2, 4))


def without_validation(world):
    counted = timed(world, Module(world), limit_val_batches=0)
    return counted, expected(row(1, 4, 0), row(2, 4, 0))


def sanity_check(world):
    checked = VAL_WORKERS + 2 * VAL_FETCH + VAL_STEP + VAL_END
    counted = timed(world, Module(world), num_sanity_val_steps=1)
    return counted, expected(row(1, 4), row(2, 4), other=checked)


def several_training_loaders(world):
    module = Module(world)
    module.train_dataloader = lambda: {
        name: loader(world, Samples(world, 4 * BATCH)) for name in ("a", "b")
    }
    counted = timed(world, module, max_epochs=1)
    wait = 2 * 4 * WAIT
    one = (1, 4 * STEP + wait, wait, EVALUATION, 0, 0)
    return counted, expected(one, other=WORKERS, images=None)


def several_validation_loaders(world):
    module = Module(world)
    module.val_dataloader = lambda: [Module.val_dataloader(module) for _ in range(2)]
    counted = timed(world, module, max_epochs=1)
    one = (1, 4 * (STEP + WAIT), 4 * WAIT, 2 * EVALUATION - VAL_END, 0, 0)
    return counted, expected(one)


def validation_within_the_epoch(world):
    counted = timed(world, Module(world), val_check_interval=0.5)
    return counted, expected(row(1, 4, 2), row(2, 4, 2))


def validation_every_three_steps_across_epochs(world):
    counted = timed(world, Module(world), val_check_interval=3, check_val_every_n_epoch=None)
    return counted, expected(row(1, 4, 1), row(2, 4, 1))


def validation_every_second_epoch(world):
    counted = timed(world, Module(world), check_val_every_n_epoch=2)
    return counted, expected(row(1, 4, 0), row(2, 4, 1))


def limited_batches(world):
    counted = timed(world, Module(world), limit_train_batches=3, limit_val_batches=1)
    evaluation = EVALUATION - 2 * VAL_FETCH - VAL_STEP
    rows = [(*row(n, 3)[:3], evaluation, 0, 0) for n in (1, 2)]
    return counted, expected(*rows)


def no_batch_at_all(world):
    return timed(world, Module(world), limit_train_batches=0), expected(other=-WORKERS)


def step_limit_within_an_epoch(world):
    counted = timed(world, Module(world), max_epochs=-1, max_steps=6)
    return counted, expected(row(1, 4), row(2, 2, 0))


def time_limit_within_an_epoch(world):
    with mock.patch("lightning.pytorch.callbacks.timer.time") as patched:
        patched.monotonic = lambda: world.now_ns / 1e9
        limit = timedelta(seconds=(4 * (STEP + WAIT) + EVALUATION + 1000) / 1e9)
        counted = timed(world, Module(world), max_epochs=-1, max_time=limit, val_check_interval=2)
    # it stops at the first batch that ends after the limit, and Lightning validates once more
    return counted, expected(row(1, 4, 2), row(2, 1, 1))


def early_stopping(world):
    class Watched(Module):
        def validation_step(self, batch, batch_idx):
            self.log("loss", 1.0)
            return super().validation_step(batch, batch_idx)

    counted = timed(world, Watched(world), EarlyStopping("loss", patience=1), max_epochs=9)
    return counted, expected(row(1, 4), row(2, 4))


def accumulated_gradients(world):
    counted = timed(world, Module(world), accumulate_grad_batches=3)
    return counted, expected(row(1, 4), row(2, 4), steps=4)


def two_optimizers_by_hand(world):
    class Adversarial(Module):
        automatic_optimization = False

        def configure_optimizers(self):
            return [torch.optim.SGD(self.parameters(), lr=0.1) for _ in range(2)]

        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            for optimizer in self.optimizers():
                optimizer.zero_grad()
                self.manual_backward(loss, retain_graph=True)
                optimizer.step()

    counted = timed(world, Adversarial(world))
    return counted, expected(row(1, 4), row(2, 4), steps=16)


def stream_without_a_length(world):
    module = Module(world)
    module.train_dataloader = lambda: loader(world, Stream(world, 4 * BATCH))
    counted = timed(world, module)
    # Lightning fetches a batch ahead: the first one with the first loader, before training
    first = (1, 4 * STEP + 3 * WAIT, 3 * WAIT, EVALUATION, 0, 0)
    return counted, expected(first, row(2, 4), other=WAIT)


def new_loaders_every_epoch(world):
    counted = timed(world, Module(world), reload_dataloaders_every_n_epochs=1)
    return counted, expected(row(1, 4), row(2, 4), other=WORKERS)


def checkpoints_and_loggers(world):
    logger = SlowLogger(world)
    keep = ModelCheckpoint(world.folder / "kept", every_n_train_steps=2, save_top_k=1)
    counted = timed(world, Module(world), keep, logger=logger, log_every_n_steps=1)
    # of each epoch two checkpoints, but the very first takes another's place: three removals in all
    logged = 2 * UPLOAD
    rows = [
        row(1, 4, checkpoint=2 * SAVE + REMOVE, other=logged),
        row(2, 4, checkpoint=2 * SAVE + 2 * REMOVE, other=logged),
    ]
    return counted, expected(*rows, other=LOGGED)


def checkpoints_at_the_epochs_end(world):
    counted = timed(world, Module(world), ModelCheckpoint(world.folder / "kept", save_top_k=-1))
    return counted, expected(row(1, 4), row(2, 4), checkpoint=2 * SAVE)


def logging_at_every_step(world):
    class Logging(Module):
        def training_step(self, batch, batch_idx):
            self.log("loss", 1.0)
            return super().training_step(batch, batch_idx)

    counted = timed(world, Logging(world), logger=SlowLogger(world), log_every_n_steps=1)
    rows = [row(n, 4, other=4 * (LOG + FLUSH)) for n in (1, 2)]
    return counted, expected(*rows, other=LOGGED)


def other_callbacks(world):
    class Slow(L.Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            world.passes(11)

        def on_train_batch_end(self, *_):
            world.passes(13)

        def on_validation_end(self, *_):
            world.passes(17)

        def on_train_epoch_end(self, trainer, pl_module):
            world.passes(19)

    counted = timed(world, Module(world), Slow(), max_epochs=1)
    # a callback's work at a batch is training, but no wait for data
    one = (1, 4 * (STEP + WAIT + 13), 4 * WAIT, EVALUATION + 17, 0, 0)
    return counted, expected(one, other=11 + 19)


def batches_fetched_by_the_module(world):
    class Fetching(Module):
        def training_step(self, dataloader_iter):
            next(dataloader_iter)
            return self.compute("train", STEP)

    counted = timed(world, Fetching(world), max_epochs=1)
    one = (1, 4 * (STEP + WAIT), None, EVALUATION, 0, 0)
    return counted, {**expected(row(1, 4)), "rows": [one], "wait": None}


def epoch_cut_short_by_the_module(world):
    class Skipping(Module):
        def on_train_batch_start(self, batch, batch_idx):
            return -1 if batch_idx == 2 else None

    counted = timed(world, Skipping(world), max_epochs=1)
    # the third batch has been fetched, and is not trained
    one = (1, 2 * STEP + 3 * WAIT, 3 * WAIT, 0, 0, 0)
    return counted, {**expected(one), "batches": 2, "steps": 2, "images": 2 * BATCH}


def search_for_a_learning_rate(world):
    class Searched(Module):
        lr = 0.1

    tries = LearningRateFinder(num_training_steps=3, early_stop_threshold=None)
    counted = timed(world, Searched(world), tries, max_epochs=1)
    # the search trains, but it is not the training
    searched = 3 * (STEP + WAIT) + WORKERS
    return counted, expected(row(1, 4), other=searched, checkpoint=SAVE + REMOVE)


def failure(which: str, exception: BaseException):
    def fails(world):
        module = Module(world)
        module.raises[which] = exception
        counted = timed(world, module)
        train, wait = (2 * (STEP + WAIT), 2 * WAIT) if which == "train" else row(1, 4)[1:3]
        evaluated = 0 if which == "train" else EVALUATION - VAL_END
        batches = 1 if which == "train" else 4
        return counted, {
            **expected(),
            "train": train,
            "wait": wait,
            "eval": evaluated,
            "batches": batches,
            "steps": batches,
            "images": BATCH * batches,
            "status": "failed",
        }

    return fails


def failure_with_a_checkpoint(world):
    module = Module(world)
    module.raises["train"] = ArithmeticError()
    keep = ModelCheckpoint(world.folder / "kept", save_on_exception=True)
    counted = timed(world, module, keep, logger=SlowLogger(world))
    _, wanted = failure("train", ArithmeticError())(World(world.folder, mock.MagicMock()))
    logged = FLUSH + UPLOAD + CLOSE
    return counted, {**wanted, "checkpoint": SAVE, "other": wanted["other"] + logged}


def resumed_at_an_epochs_edge(world):
    keep = ModelCheckpoint(world.folder / "kept", filename="last")
    timed(world, Module(world), keep, max_epochs=1)
    return _resumed(world, 2), expected(row(1, 4), row(2, 4, workers=0), checkpoint=0, other=BEFORE)


def resumed_within_an_epoch(world):
    keep = ModelCheckpoint(world.folder / "kept", filename="last", every_n_train_steps=2)
    timed(world, Module(world), keep, max_steps=2, max_epochs=1, limit_val_batches=0)
    # two batches of the epoch before the checkpoint, two after it; the row is one
    return _resumed(world, 1), expected(row(1, 4), other=BEFORE)


def resumed_from_the_last_validation(world):
    keep = ModelCheckpoint(world.folder / "kept", filename="last", save_on_train_epoch_end=False)
    timed(world, Module(world), keep, max_epochs=1)
    return _resumed(world, 2), expected(row(1, 4), row(2, 4), other=BEFORE)


def _resumed(world, epochs: int) -> dict:
    timing = TimingCallback(clock=world.clock)
    made = trainer(world, timing, max_epochs=epochs)
    return refit(world, made, timing, Module(world), world.folder / "kept" / "last.ckpt")


FAILURES = {
    f"{type(exc).__name__} in {which}": failure(which, exc)
    for which in ("train", "eval")
    for exc in (ArithmeticError(), KeyboardInterrupt())
}
SCENARIOS = {
    scenario.__name__: scenario
    for scenario in (
        plain,
        without_validation,
        sanity_check,
        several_training_loaders,
        several_validation_loaders,
        validation_within_the_epoch,
        validation_every_three_steps_across_epochs,
        validation_every_second_epoch,
        limited_batches,
        no_batch_at_all,
        step_limit_within_an_epoch,
        time_limit_within_an_epoch,
        early_stopping,
        accumulated_gradients,
        two_optimizers_by_hand,
        stream_without_a_length,
        new_loaders_every_epoch,
        checkpoints_and_loggers,
        checkpoints_at_the_epochs_end,
        logging_at_every_step,
        other_callbacks,
        batches_fetched_by_the_module,
        epoch_cut_short_by_the_module,
        search_for_a_learning_rate,
        failure_with_a_checkpoint,
        resumed_at_an_epochs_edge,
        resumed_within_an_epoch,
        resumed_from_the_last_validation,
    )
} | FAILURES


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


def test_loggers_get_a_row_once_an_epoch(world):
    logger = SlowLogger(world)
    timed(world, Module(world), logger=logger)
    train_s, wait_s = (4 * (STEP + WAIT) + WORKERS) / 1e9, (4 * WAIT + WORKERS) / 1e9
    (_, first), (step, second) = logger.rows
    assert step == 7
    assert first["time/train_s"] == pytest.approx(4 * (STEP + WAIT) / 1e9)
    assert second["epoch"] == 1
    assert second["time/train_s"] == pytest.approx(train_s)
    assert second["time/data_wait_s"] == pytest.approx(wait_s)
    assert second["time/eval_s"] == pytest.approx(EVALUATION / 1e9)
    assert second["time/images_per_s"] == pytest.approx(4 * BATCH / train_s)
    assert "time/steps_per_s" not in second


def test_steps_are_logged_where_images_cannot_be_counted(world):
    class Uncounted(TimingCallback):
        def count_images(self, batch):
            return None

    logger = SlowLogger(world)
    timed(world, Module(world), timing=Uncounted(clock=world.clock), max_epochs=1, logger=logger)
    ((_, logged),) = logger.rows
    assert logged["time/steps_per_s"] == pytest.approx(4 / (4 * (STEP + WAIT) / 1e9))
    assert "time/images_per_s" not in logged


def test_nothing_is_logged_where_nobody_asks_for_it(world):
    logger = SlowLogger(world)
    timing = TimingCallback(clock=world.clock, log=False)
    timed(world, Module(world), timing=timing, logger=logger)
    assert logger.rows == []


@pytest.mark.parametrize("exception", [None, ArithmeticError()])
def test_the_file_holds_the_summary_once_the_fit_is_over(world, exception):
    file = world.folder / "new" / "timing.json"
    timing = TimingCallback(clock=world.clock, file=file)
    module = Module(world)
    if exception is not None:
        module.raises["train"] = exception
    timed(world, module, timing=timing)
    assert json.loads(file.read_text()) == timing.summary()
    assert timing.summary()["exception"] == (exception and "ArithmeticError")
    assert [path.name for path in file.parent.iterdir()] == ["timing.json"]


def test_the_trainer_and_the_loggers_are_left_as_they_were(world):
    logger, module = SlowLogger(world), Module(world)
    timing = TimingCallback(clock=world.clock)
    made = trainer(world, timing, logger=logger)
    refit(world, made, timing, module)
    loops = (made.fit_loop.epoch_loop, made.fit_loop.epoch_loop.val_loop)
    for owner in (made, made.strategy, made.profiler, logger, *loops):
        assert not any(callable(v) and hasattr(v, "__wrapped__") for v in vars(owner).values())


def test_two_of_them_count_the_same(world):
    class Second(TimingCallback):
        pass

    timing, second = TimingCallback(clock=world.clock), Second(clock=world.clock)
    counted = timed(world, Module(world), second, timing=timing, logger=SlowLogger(world))
    for name in ("train", "eval", "wait", "batches", "status"):
        assert counts(second)[name] == counted[name]
    assert counted["train"] == expected(row(1, 4), row(2, 4))["train"]


def test_it_travels_to_another_process_before_and_after_a_fit(world):
    timing = TimingCallback(clock=time.perf_counter_ns)
    made = trainer(world, timing)
    assert pickle.loads(pickle.dumps(timing)).summary() == timing.summary()
    made.fit(Module(world))
    assert pickle.loads(pickle.dumps(timing)).summary() == timing.summary()


def test_a_given_stopwatch_goes_on_where_it_was_and_keeps_its_phases(world):
    stopwatch = Stopwatch(world.clock, lambda: world.synchronise(torch.device("cpu")))
    world.passes(123)
    stopwatch.enter("other")
    timing = TimingCallback(stopwatch=stopwatch)
    world.passes(45)
    counted = timed(world, Module(world), timing=timing)
    assert counted == expected(row(1, 4), row(2, 4))
    assert stopwatch.totals_ns()["startup"] == 123
    assert stopwatch.totals_ns()["train"] == counted["train"]
    assert stopwatch.totals_ns()["other"] == 45 + BEFORE
    assert stopwatch.phase == "other"


def test_a_subclass_is_told_of_the_course_and_of_the_phase(world):
    told = []

    class Told(TimingCallback):
        def epoch_began(self, trainer, pl_module, epoch):
            told.append(("began", epoch, self._stopwatch.phase))

        def batch_arrived(self, waited_ns):
            told.append(("batch", waited_ns, self._stopwatch.phase))

        def evaluating(self, trainer, pl_module):
            told.append(("evaluating", world.queued_ns, self._stopwatch.phase))

        def evaluated(self, trainer, pl_module):
            told.append(("evaluated", trainer.callback_metrics["loss"], self._stopwatch.phase))

        def epoch_ended(self, trainer, pl_module, times):
            metrics = sorted(trainer.callback_metrics)
            told.append(("ended", times.epoch, metrics, self._stopwatch.phase))

    class Logging(Module):
        def training_step(self, batch, batch_idx):
            self.log("train_loss", 1.0, on_step=False, on_epoch=True)
            return super().training_step(batch, batch_idx)

        def validation_step(self, batch, batch_idx):
            self.log("loss", 2.0)
            return super().validation_step(batch, batch_idx)

    timing = Told(clock=world.clock)
    timed(world, Logging(world, batches=1), timing=timing, max_epochs=1)
    assert told == [
        ("began", 1, "other"),
        ("batch", WAIT, "train"),
        ("evaluating", 0, "eval"),
        ("evaluated", 2.0, "eval"),
        ("ended", 1, ["loss", "train_loss"], "other"),
    ]


@pytest.mark.parametrize(
    ("batch", "images"),
    [
        (torch.zeros(5, 2), 5),
        ([torch.zeros(5, 2), torch.zeros(5)], 5),
        ({"a": torch.zeros(5, 2), "name": ["x"] * 5}, 5),
        ([torch.zeros(5), torch.zeros(4)], None),
        (torch.zeros(()), None),
        ("text", None),
    ],
)
def test_images_are_the_first_dimension_that_all_tensors_share(batch, images):
    assert TimingCallback().count_images(batch) == images


def test_samples_that_are_not_batched_are_not_counted_as_batches(world):
    module = Module(world)
    module.train_dataloader = lambda: loader(world, Samples(world, 3), batch_size=None)
    counted = timed(world, module, max_epochs=1)
    assert (counted["batches"], counted["images"]) == (3, None)
