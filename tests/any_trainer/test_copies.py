"""The trio's checkpoints, what is resumed from them, and copies of each of the three."""

import copy
import pickle
import signal
from pathlib import Path

import lightning.pytorch as L
import numpy as np
import pytest
from lightning.pytorch.callbacks import ModelCheckpoint, OnExceptionCheckpoint

from mnist_gpu import MNISTDataModule, MNISTModule, TimingCallback
from tests.any_trainer.trainers import STEPS, same, small, weights


@pytest.mark.parametrize("when", ["validation", "epoch"])
def test_what_is_resumed_after_an_epoch_ends_with_the_same_bits_dropout_and_times_included(
    trainer, mnist_dir, tmp_path, when
):
    def fitted(*callbacks, ckpt_path=None, **options) -> MNISTModule:
        module = MNISTModule("mlp")
        run = trainer(callbacks=[*callbacks], enable_checkpointing=ckpt_path is None, **options)
        # a checkpoint holds nothing but tensors and Python's own types
        how = {"ckpt_path": ckpt_path, "weights_only": True} if ckpt_path else {}
        run.fit(module, datamodule=small(mnist_dir), **how)
        return module

    whole = fitted(max_epochs=3)
    keep = ModelCheckpoint(tmp_path, save_last=True, save_on_train_epoch_end=when == "epoch")
    fitted(TimingCallback(), keep, max_epochs=1)
    timing = TimingCallback()
    resumed = fitted(timing, max_epochs=3, ckpt_path=tmp_path / "last.ckpt")
    assert same(weights(resumed), weights(whole))
    assert [(epoch.epoch, epoch.batches) for epoch in timing.epochs] == [(n, 8) for n in (1, 2, 3)]
    assert timing.summary()["segments"] == 2


def test_a_data_module_comes_back_from_a_checkpoint(trainer, mnist_dir, tmp_path):
    run = trainer()
    run.fit(MNISTModule("mlp"), datamodule=small(mnist_dir, seed=7))
    run.save_checkpoint(tmp_path / "kept.ckpt")
    again = MNISTDataModule.load_from_checkpoint(tmp_path / "kept.ckpt", batch_size=32)
    assert (again.data_dir, again.batch_size, again.seed) == (None, 32, 7)


def test_a_fit_that_the_keyboard_interrupts_goes_on_from_that_moments_checkpoint(
    trainer, mnist_dir, tmp_path, timing
):
    class Interrupting(L.Callback):
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == STEPS + 3:
                raise KeyboardInterrupt

    handler = signal.getsignal(signal.SIGINT)
    keep = OnExceptionCheckpoint(tmp_path, "broken")
    run = trainer(max_epochs=3, callbacks=[timing, Interrupting(), keep], enable_checkpointing=True)
    with pytest.raises(SystemExit):
        run.fit(MNISTModule("mlp"), datamodule=small(mnist_dir))
    signal.signal(signal.SIGINT, handler)  # Lightning leaves it ignored
    told = timing.summary()
    assert (told["status"], told["exception"]) == ("failed", "KeyboardInterrupt")
    assert len(told["epochs"]) == 1
    resumed, later = trainer(max_epochs=3), TimingCallback()
    resumed.callbacks.append(later)
    resumed.fit(MNISTModule("mlp"), datamodule=small(mnist_dir), ckpt_path=tmp_path / "broken.ckpt")
    assert resumed.global_step == 3 * STEPS
    assert [(epoch.epoch, epoch.steps) for epoch in later.epochs] == [(n, 8) for n in (1, 2, 3)]


class Copying(L.Callback):
    """In mid-fit, pickles and copies whatever it is given."""

    def __init__(self, things: dict[str, object]) -> None:
        self.things, self.seen = things, {}

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == 3:
            self.seen = {name: copies(thing) for name, thing in self.things.items()}

    def __getstate__(self):
        return {}


def copies(thing):
    return [pickle.loads(pickle.dumps(thing)), copy.deepcopy(thing)]


def test_module_data_module_and_callback_are_copied_before_within_and_after_a_fit(
    trainer, data, timing
):
    module = MNISTModule("mlp")
    things = {"module": module, "data": data, "timing": timing}
    copying = Copying(things)
    before = {name: copies(thing) for name, thing in things.items()}
    trainer(callbacks=[timing, copying]).fit(module, datamodule=data)
    after = {name: copies(thing) for name, thing in things.items()}
    assert all(same(weights(made), weights(module)) for made in after["module"])
    assert all(made.summary() == timing.summary() for made in after["timing"])
    # it counts after other callbacks
    assert all(made.summary()["batches"] == 2 for made in copying.seen["timing"])
    for seen in (before, copying.seen, after):
        for made, held, timed in zip(seen["module"], seen["data"], seen["timing"], strict=True):
            run = trainer(callbacks=[timed])
            run.fit(made, datamodule=held)
            assert timed.summary()["steps"] == run.global_step == STEPS


def test_a_trainer_that_is_copied_in_mid_fit_has_methods_of_its_own(trainer, data, timing):
    class Self(L.Callback):
        def on_train_batch_end(self, trainer, *_):
            self.made = copies(trainer)

        def __reduce__(self):
            return L.Callback, ()

    taking = Self()
    run = trainer(limit_train_batches=1, callbacks=[timing, taking])
    run.fit(MNISTModule("mlp"), datamodule=data)
    for made in taking.made:
        assert made.save_checkpoint.__self__ is made
        assert made.strategy.remove_checkpoint.__self__ is made.strategy


def test_a_folder_may_be_a_path_and_the_checkpoint_is_read_all_the_same(
    trainer, mnist_dir, tmp_path
):
    def data() -> MNISTDataModule:
        made = MNISTDataModule(Path(mnist_dir))
        made.train, made.test = small(mnist_dir).train, small(mnist_dir).test
        return made

    run, module = trainer(), MNISTModule("mlp")
    run.fit(module, datamodule=data())
    run.save_checkpoint(tmp_path / "kept.ckpt")
    later = trainer(max_epochs=2)
    later.fit(MNISTModule("mlp"), datamodule=data(), ckpt_path=tmp_path / "kept.ckpt")
    assert later.global_step == 2 * STEPS
    again = MNISTDataModule.load_from_checkpoint(tmp_path / "kept.ckpt")
    assert again.data_dir == str(mnist_dir)
    assert same(weights(MNISTModule.load_from_checkpoint(tmp_path / "kept.ckpt")), weights(module))


class Doubled(MNISTModule):
    """Takes what the data are weighed by, and doubles the learning rate."""

    def __init__(self, weights: np.ndarray, learning_rate: float = 1e-3, **arguments) -> None:
        super().__init__(learning_rate=2 * learning_rate, **arguments)
        self.weights = weights


def test_a_subclass_has_arguments_of_its_own_and_changes_one_of_ours(trainer, data, tmp_path):
    run = trainer()
    run.fit(Doubled(np.ones(10), learning_rate=2e-3, model="mlp"), datamodule=data)
    run.save_checkpoint(tmp_path / "kept.ckpt")
    again = Doubled.load_from_checkpoint(tmp_path / "kept.ckpt", weights=np.ones(10))
    assert again.learning_rate == 4e-3
