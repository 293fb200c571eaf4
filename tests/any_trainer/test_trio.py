"""MNISTModule and MNISTDataModule in anybody's Trainer, as Lightning's documentation has it."""

import csv
import os
import shutil
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from mnist_gpu import MNISTModule
from mnist_gpu.errors import UserError
from mnist_gpu.protocol.streams import epoch_order
from tests.any_trainer.trainers import IMAGES, STEPS, same, small, weights, without_dropout
from tests.wheels import build_wheel

CHECKOUT = Path(__file__).resolve().parents[2]


def test_fit_counts_every_optimizer_step_and_leaves_the_epochs_metrics(trainer, data):
    fit = trainer(max_epochs=2)
    fit.fit(MNISTModule("mlp"), datamodule=data)
    assert fit.global_step == 2 * STEPS
    assert fit.callback_metrics.keys() >= {
        "train_loss",
        "train_accuracy",
        "val_loss",
        "val_accuracy",
    }
    assert fit.callback_metrics["val_accuracy"] > 0.7


def test_hooks_of_backward_step_and_zero_grad_fire_at_every_step(trainer, data):
    class Counting(L.Callback):
        def __init__(self):
            self.seen = dict.fromkeys(("backward", "step", "zero"), 0)

        def on_after_backward(self, trainer, pl_module):
            self.seen["backward"] += 1

        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            self.seen["step"] += 1

        def on_before_zero_grad(self, trainer, pl_module, optimizer):
            self.seen["zero"] += 1

    counting = Counting()
    trainer(callbacks=[counting]).fit(MNISTModule("mlp"), datamodule=data)
    assert counting.seen == {"backward": STEPS, "step": STEPS, "zero": STEPS}


def test_validate_test_and_predict_see_the_whole_test_set(trainer, data):
    module, run = MNISTModule("mlp"), trainer()
    [validated] = run.validate(module, datamodule=data, verbose=False)
    [tested] = run.test(module, datamodule=data, verbose=False)
    logits = torch.cat(run.predict(module, datamodule=data))
    assert validated["val_accuracy"] == tested["test_accuracy"]
    labels = data.test.tensors[1]
    assert logits.shape == (len(labels), 10)
    right = (logits.argmax(1) == labels).float().mean().item()
    assert right == pytest.approx(tested["test_accuracy"])


def test_calling_the_module_gives_logits_of_images():
    module = MNISTModule("mlp").eval()
    assert module(torch.zeros(3, 1, 28, 28)).shape == (3, 10)


def test_model_checkpoint_keeps_what_load_from_checkpoint_reads_back(trainer, data, tmp_path):
    keep = ModelCheckpoint(tmp_path / "kept", monitor="val_accuracy", mode="max")
    module = MNISTModule("mlp", learning_rate=2e-3, seed=4)
    trainer(callbacks=[keep], enable_checkpointing=True).fit(module, datamodule=data)
    again = MNISTModule.load_from_checkpoint(keep.best_model_path)
    assert dict(again.hparams) == {"model": "mlp", "learning_rate": 2e-3, "seed": 4}
    assert same(weights(again), weights(module))


def test_early_stopping_ends_a_training_that_gets_no_better(trainer, data):
    stop = EarlyStopping("val_accuracy", mode="max", patience=1, min_delta=1.0)
    run = trainer(max_epochs=20, callbacks=[stop])
    run.fit(MNISTModule("mlp"), datamodule=data)
    # the first epoch sets the mark, the second is no better
    assert run.current_epoch == 2


def test_a_csv_logger_gets_metrics_and_the_learning_rate(trainer, data, tmp_path):
    logger = CSVLogger(tmp_path, name="log")
    run = trainer(logger=logger, callbacks=[LearningRateMonitor("epoch")], max_epochs=2)
    run.fit(MNISTModule("mlp", learning_rate=5e-4), datamodule=data)
    with Path(logger.log_dir, "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {float(row["lr-Adam"]) for row in rows if row["lr-Adam"]} == {5e-4}
    assert len([row for row in rows if row["train_loss"]]) == 2
    assert len([row for row in rows if row["val_accuracy"]]) == 2
    hparams = Path(logger.log_dir, "hparams.yaml").read_text()
    assert "learning_rate: 0.0005" in hparams


@pytest.mark.parametrize(
    ("precision", "dtype"), [("bf16-mixed", torch.bfloat16), ("64-true", torch.float64)]
)
def test_a_precision_that_is_asked_for_is_computed_in(trainer, data, precision, dtype):
    module, seen = MNISTModule("mlp"), set()
    module.network.fc1.register_forward_hook(lambda layer, given, out: seen.add(out.dtype))
    trainer(precision=precision).fit(module, datamodule=data)
    assert seen == {dtype}


def test_accumulated_gradients_make_fewer_steps(trainer, data):
    run = trainer(accumulate_grad_batches=4)
    run.fit(MNISTModule("mlp"), datamodule=data)
    assert run.global_step == STEPS // 4


def test_a_profiler_sees_the_trainers_parts(trainer, data):
    run = trainer(profiler="simple")
    run.fit(MNISTModule("mlp"), datamodule=data)
    assert "run_training_batch" in run.profiler.summary()


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")
def test_a_compiled_module_trains_to_the_same_loss(trainer, data):
    losses = []
    for compiled in (False, True):
        # compiled dropout draws other masks
        module, run = without_dropout(), trainer(limit_train_batches=3)
        run.fit(torch.compile(module) if compiled else module, datamodule=data)
        losses.append(run.callback_metrics["train_loss"].item())
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


@pytest.mark.parametrize("stop", ["at an epoch's edge", "within an epoch"])
def test_a_fit_resumed_from_ckpt_path_ends_where_it_would_have(trainer, mnist_dir, tmp_path, stop):
    # Lightning does not save dropout's stream within an epoch
    whole, first, second = without_dropout(), without_dropout(), without_dropout()
    trainer(max_epochs=3).fit(whole, datamodule=small(mnist_dir))
    every = STEPS if stop == "at an epoch's edge" else STEPS + 3
    keep = ModelCheckpoint(tmp_path, "stopped", every_n_train_steps=every)
    before = trainer(max_epochs=3, max_steps=every, callbacks=[keep], enable_checkpointing=True)
    before.fit(first, datamodule=small(mnist_dir))
    after = trainer(max_epochs=3)
    after.fit(second, datamodule=small(mnist_dir), ckpt_path=tmp_path / "stopped.ckpt")
    assert after.global_step == 3 * STEPS
    if stop == "at an epoch's edge":
        assert same(weights(second), weights(whole))
    else:
        # PyTorch's DataLoader begins the epoch anew: the rest of it has other batches
        assert not same(weights(second), weights(first))


def test_every_epoch_visits_the_images_in_the_protocols_order(data):
    data.setup("fit")
    loader = data.train_dataloader()
    for epoch in (1, 2):
        loader.sampler.set_epoch(epoch - 1)
        labels = torch.cat([batch for _, batch in loader])
        expected = data.train.tensors[1][torch.from_numpy(epoch_order(0, epoch, IMAGES))]
        assert torch.equal(labels, expected)


def test_module_and_data_module_may_have_seeds_of_their_own(trainer, data, tmp_path):
    module = MNISTModule("mlp", seed=3)
    run = trainer(logger=CSVLogger(tmp_path))
    run.fit(module, datamodule=data)
    assert (module.hparams.seed, data.hparams.seed) == (3, 0)


def test_an_unknown_model_is_answered_with_those_there_are():
    with pytest.raises(UserError, match=r"model=resnet: choose from cnn, lenet5, mlp"):
        MNISTModule("resnet")


DDP = """
import sys
import lightning.pytorch as L
import numpy as np
from mnist_gpu import MNISTDataModule
from tests.any_trainer.trainers import IMAGES, without_dropout
from tests.workloads import first_images, mnist

if __name__ == "__main__":
    images, module = first_images(mnist(sys.argv[1]), IMAGES), without_dropout()
    trainer = L.Trainer(
        accelerator="cpu", devices=2, strategy="ddp", max_epochs=2, logger=False,
        enable_progress_bar=False, enable_checkpointing=False, enable_model_summary=False,
    )
    # per process, as Lightning has it
    trainer.fit(module, datamodule=MNISTDataModule.of(images, 64 // 2, 0))
    if trainer.is_global_zero:
        assert trainer.global_step == 16, trainer.global_step
        np.savez(sys.argv[2], **{n: p.detach().numpy() for n, p in module.named_parameters()})
"""


@pytest.mark.slow
def test_under_ddp_two_processes_train_what_one_would(trainer, data, mnist_dir, tmp_path):
    script, target = tmp_path / "train.py", tmp_path / "two.npz"
    script.write_text(DDP)
    subprocess.run(
        [sys.executable, script, str(mnist_dir), target],
        check=True,
        cwd=tmp_path,
        env={**_environment(), "PYTHONPATH": str(CHECKOUT)},
        timeout=300,
    )
    together, alone = np.load(target), without_dropout()
    trainer(max_epochs=2).fit(alone, datamodule=data)
    for name, array in weights(alone).items():
        assert np.allclose(array, together[name], rtol=0, atol=1e-5), name


def test_importing_the_package_loads_no_torch():
    script = "import sys, mnist_gpu; print(sorted({'torch', 'lightning'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


WITHOUT_HYDRA = """
import sys


class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("hydra", "omegaconf"):
            raise ModuleNotFoundError(name)


sys.meta_path.insert(0, Absent())
import lightning.pytorch as L
from mnist_gpu import MNISTDataModule, MNISTModule, TimingCallback
import mnist_gpu
assert "wheel" in mnist_gpu.__file__, mnist_gpu.__file__
timing = TimingCallback()
trainer = L.Trainer(
    accelerator="cpu", max_epochs=1, limit_train_batches=5, limit_val_batches=1, logger=False,
    callbacks=[timing], enable_progress_bar=False, enable_checkpointing=False,
)
trainer.fit(MNISTModule("mlp"), datamodule=MNISTDataModule(sys.argv[1]))
assert trainer.global_step == 5
assert timing.summary()["train_s"] > 0
"""


@pytest.mark.slow
def test_the_trio_works_from_a_wheel_in_an_empty_folder_without_hydra(mnist_dir, tmp_path):
    wheel = build_wheel(tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "wheel")
    (tmp_path / "empty").mkdir()
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(WITHOUT_HYDRA), str(mnist_dir)],
        check=True,
        cwd=tmp_path / "empty",
        env={**_environment(), "PYTHONPATH": str(tmp_path / "wheel")},
        timeout=300,
    )


def _environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("RANK", "LOCAL_", "WORLD_"))}


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range_is_refused_in_a_line(seed):
    with pytest.raises(UserError, match=f"seed={seed}: a whole number from 0"):
        MNISTModule("mlp", seed=seed)
