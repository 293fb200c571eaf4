"""Fits that fail or go on from a checkpoint: what was counted, and what the script says."""

from unittest import mock

from lightning.pytorch.callbacks import ModelCheckpoint

from mnist_gpu.timing.callback import TimingCallback
from tests.timing.scripted_fit import (
    BATCH,
    BEFORE,
    CLOSE,
    EVALUATION,
    FLUSH,
    PREPARE,
    SAVE,
    STEP,
    UPLOAD,
    VAL_END,
    WAIT,
    Module,
    SlowLogger,
    World,
    expected,
    refit,
    row,
    timed,
    trainer,
)


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


def data_that_cannot_be_prepared(world):
    class Lacking(Module):
        def prepare_data(self):
            super().prepare_data()
            raise ArithmeticError

    # what an earlier fit had is not told as this one's
    timing = TimingCallback(clock=world.clock)
    timed(world, Module(world), timing=timing)
    counted = timed(world, Lacking(world), timing=timing)
    return counted, expected(other=PREPARE - BEFORE, status="failed")


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
