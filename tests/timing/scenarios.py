"""One fit after the other: each gives what was counted, and what the script says."""

from datetime import timedelta
from unittest import mock

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, LearningRateFinder, ModelCheckpoint

from tests.timing.failures import (
    FAILURES,
    data_that_cannot_be_prepared,
    failure_with_a_checkpoint,
    resumed_at_an_epochs_edge,
    resumed_from_the_last_validation,
    resumed_within_an_epoch,
)
from tests.timing.scripted_fit import (
    BATCH,
    EVALUATION,
    FLUSH,
    LOG,
    LOGGED,
    REMOVE,
    SAVE,
    STEP,
    UPLOAD,
    VAL_END,
    VAL_FETCH,
    VAL_STEP,
    VAL_WORKERS,
    WAIT,
    WORKERS,
    Module,
    Samples,
    SlowLogger,
    Stream,
    expected,
    loader,
    row,
    timed,
)


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
        data_that_cannot_be_prepared,
        failure_with_a_checkpoint,
        resumed_at_an_epochs_edge,
        resumed_within_an_epoch,
        resumed_from_the_last_validation,
    )
} | FAILURES
