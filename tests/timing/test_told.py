"""What the timing callback tells loggers, files, subclasses and other processes."""

import json
import pickle
import time

import pytest
import torch

from mnist_gpu.timing.callback import TimingCallback
from mnist_gpu.timing.stopwatch import Stopwatch
from tests.timing.scripted_fit import (
    BATCH,
    BEFORE,
    EVALUATION,
    STEP,
    WAIT,
    WORKERS,
    Module,
    SlowLogger,
    expected,
    refit,
    row,
    timed,
    trainer,
)


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
