"""The trio under whatever else Lightning's documentation has of a Trainer: its options, loggers and
callbacks, its tuner, and subclasses."""

from functools import partial

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import (
    EMAWeightAveraging,
    GradientAccumulationScheduler,
    StochasticWeightAveraging,
)
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.tuner import Tuner
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader

from mnist_gpu import MNISTDataModule, MNISTModule
from mnist_gpu.protocol.streams import epoch_order
from tests.any_trainer.trainers import IMAGES, STEPS, same, small, weights


class Labels(L.Callback):
    """Keeps the labels that each epoch came with."""

    def __init__(self) -> None:
        self.epochs: list[list[torch.Tensor]] = []

    def on_train_epoch_start(self, trainer, pl_module):
        self.epochs.append([])

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.epochs[-1].append(batch[1])


# -- options --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "steps"),
    [
        ({"limit_train_batches": 3}, 6),
        ({"limit_train_batches": 0.5}, 8),
        ({"limit_val_batches": 0}, 16),
        ({"overfit_batches": 2}, 4),
        ({"fast_dev_run": 3}, 3),
        ({"max_steps": 11, "max_epochs": -1}, 11),
        ({"max_epochs": 0}, 0),
        ({"max_time": {"seconds": 0}, "max_epochs": -1}, 0),
        ({"accumulate_grad_batches": 3}, 6),
        ({"deterministic": True}, 16),
        ({"detect_anomaly": True}, 16),
        ({"inference_mode": False}, 16),
        ({"num_sanity_val_steps": -1}, 16),
        ({"barebones": True}, 16),
        ({"reload_dataloaders_every_n_epochs": 1}, 16),
    ],
)
def test_an_option_makes_the_steps_that_it_says_and_the_callback_counts_them(
    trainer, data, timing, option, steps
):
    run = trainer(**{"max_epochs": 2, "callbacks": [timing], **option})
    run.fit(MNISTModule("mlp"), datamodule=data)
    told = timing.summary()
    assert (run.global_step, told["steps"], told["status"]) == (steps, steps, "completed")
    parts = sum(told[f"{phase}_s"] for phase in ("train", "eval", "checkpoint", "other"))
    assert parts == pytest.approx(told["total_s"])


@pytest.mark.parametrize(
    ("option", "validations"),
    [
        ({"val_check_interval": 0.25}, 8),
        ({"val_check_interval": 3}, 4),
        ({"val_check_interval": 5, "check_val_every_n_epoch": None}, 3),
        ({"check_val_every_n_epoch": 2}, 1),
    ],
)
def test_validation_comes_as_often_as_asked(trainer, data, timing, option, validations):
    class Counting(L.Callback):
        seen = 0

        def on_validation_end(self, trainer, pl_module):
            self.seen += not trainer.sanity_checking

    counting = Counting()
    run = trainer(max_epochs=2, callbacks=[timing, counting], **option)
    run.fit(MNISTModule("mlp"), datamodule=data)
    assert counting.seen == validations
    assert [epoch.batches for epoch in timing.epochs] == [STEPS, STEPS]


def test_overfit_batches_are_the_first_images_in_every_epoch(trainer, data):
    seen = Labels()
    run = trainer(overfit_batches=1, max_epochs=3, callbacks=[seen])
    run.fit(MNISTModule("mlp"), datamodule=data)
    first = data.train.tensors[1][:64]
    assert [torch.equal(torch.cat(epoch), first) for epoch in seen.epochs] == [True] * 3


@pytest.mark.parametrize("every", [0, 1, 2])
def test_loaders_made_anew_and_a_second_fit_go_on_in_the_protocols_order(trainer, data, every):
    seen, module = Labels(), MNISTModule("mlp")
    run = trainer(max_epochs=2, callbacks=[seen], reload_dataloaders_every_n_epochs=every)
    run.fit(module, datamodule=data)
    run.fit_loop.max_epochs = 4
    run.fit(module, datamodule=data)
    labels = data.train.tensors[1]
    expected = [labels[torch.from_numpy(epoch_order(0, n, IMAGES))] for n in (1, 2, 3, 4)]
    assert len(seen.epochs) == 4
    for epoch, order in zip(seen.epochs, expected, strict=True):
        assert torch.equal(torch.cat(epoch), order)


def test_workers_of_a_loader_see_the_protocols_order_too(trainer, mnist_dir):
    class WithWorkers(MNISTDataModule):
        def train_dataloader(self):
            made = super().train_dataloader()
            return DataLoader(made.dataset, 64, sampler=made.sampler, num_workers=1)

    seen, data = Labels(), small(mnist_dir, WithWorkers)
    trainer(max_epochs=2, callbacks=[seen]).fit(MNISTModule("mlp"), datamodule=data)
    labels = data.train.tensors[1]
    for n, epoch in enumerate(seen.epochs, 1):
        assert torch.equal(torch.cat(epoch), labels[torch.from_numpy(epoch_order(0, n, IMAGES))])


def test_gradients_are_clipped_where_that_is_asked_for(trainer, data):
    class Norms(L.Callback):
        def __init__(self):
            self.seen = []

        def on_before_zero_grad(self, trainer, pl_module, optimizer):
            gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
            self.seen.append(torch.nn.utils.get_total_norm(gradients).item())

    clipped, free = Norms(), Norms()
    for norms, option in ((clipped, {"gradient_clip_val": 0.01}), (free, {})):
        trainer(callbacks=[norms], **option).fit(MNISTModule("mlp"), datamodule=data)
    assert max(clipped.seen) < 0.0101
    assert max(free.seen) > 0.1


@pytest.mark.parametrize(
    ("callback", "steps"),
    [
        (partial(StochasticWeightAveraging, 1e-2, swa_epoch_start=1), 24),
        (partial(EMAWeightAveraging, decay=0.5), 24),
        (partial(GradientAccumulationScheduler, {1: 2}), 16),
    ],
)
def test_lightnings_own_callbacks_change_the_training_as_they_say(
    trainer, data, timing, callback, steps
):
    run = trainer(max_epochs=3, callbacks=[callback(), timing])
    run.fit(MNISTModule("mlp"), datamodule=data)
    assert (run.global_step, timing.summary()["steps"]) == (steps, steps)
    assert run.callback_metrics["val_accuracy"] > 0.7


def test_tensorboard_gets_metrics_and_times_once_an_epoch_and_the_hyper_parameters(
    trainer, data, timing, tmp_path
):
    logger = TensorBoardLogger(tmp_path)
    run = trainer(max_epochs=2, logger=logger, callbacks=[timing])
    run.fit(MNISTModule("mlp"), datamodule=data)
    events = EventAccumulator(logger.log_dir).Reload()
    for tag in ("train_loss", "val_accuracy", "time/train_s", "time/data_wait_s"):
        assert [event.step for event in events.Scalars(tag)] == [STEPS - 1, 2 * STEPS - 1], tag
    assert "hp_metric" in events.Tags()["scalars"]


# -- the tuner ------------------------------------------------------------------------------------


def test_a_learning_rate_that_the_tuner_finds_is_trained_with(trainer, data, timing):
    module, run = MNISTModule("mlp"), trainer(max_epochs=2, callbacks=[timing])
    before = weights(module)
    found = Tuner(run).lr_find(module, datamodule=data, min_lr=1e-5, num_training=30)
    assert module.learning_rate == module.hparams.learning_rate == found.suggestion() != 1e-3
    assert same(weights(module), before)
    # the search was no training
    assert (timing.summary()["status"], timing.summary()["steps"]) == ("completed", 0)
    run.fit(module, datamodule=data)
    assert run.optimizers[0].param_groups[0]["lr"] == module.learning_rate
    assert timing.summary()["steps"] == run.global_step == 2 * STEPS


@pytest.mark.parametrize("mode", ["power", "binsearch"])
def test_a_batch_size_that_the_tuner_finds_is_trained_with(trainer, data, timing, mode):
    module, run = MNISTModule("mlp"), trainer(max_epochs=2, callbacks=[timing])
    found = Tuner(run).scale_batch_size(
        module, datamodule=data, mode=mode, init_val=16, max_trials=2, steps_per_trial=1
    )
    assert data.batch_size == data.hparams.batch_size == found != 64
    run.fit(module, datamodule=data)
    assert timing.summary()["steps"] == run.global_step == 2 * -(-IMAGES // found)


# -- subclasses -----------------------------------------------------------------------------------


class Halving(MNISTModule):
    def __init__(self, factor: float = 0.5, **arguments) -> None:
        super().__init__(**arguments)
        self.save_hyperparameters()

    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        return [optimizer], [lr_scheduler.StepLR(optimizer, 1, self.hparams.factor)]


class Patient(MNISTModule):
    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0, threshold=9)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "monitor": "val_loss"},
        }


@pytest.mark.parametrize(("kind", "halved"), [(Halving, 3), (Patient, 3)])
def test_a_subclass_adds_a_scheduler(trainer, data, tmp_path, kind, halved):
    module, run = kind(model="mlp"), trainer(max_epochs=3)
    run.fit(module, datamodule=data)
    assert run.optimizers[0].param_groups[0]["lr"] == 1e-3 / 2**halved
    run.save_checkpoint(tmp_path / "kept.ckpt")
    again = kind.load_from_checkpoint(tmp_path / "kept.ckpt")
    assert dict(again.hparams) == dict(module.hparams)
    assert same(weights(again), weights(module))


def test_a_subclass_that_optimizes_by_hand_comes_to_the_same_weights(trainer, data):
    class ByHand(MNISTModule):
        automatic_optimization = False

        def training_step(self, batch, batch_idx):
            optimizer = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(super().training_step(batch, batch_idx))
            optimizer.step()

    ends = []
    for kind in (ByHand, MNISTModule):
        module, run = kind("mlp"), trainer(max_epochs=2)
        run.fit(module, datamodule=data)
        assert run.global_step == 2 * STEPS
        ends.append(weights(module))
    assert same(*ends)
