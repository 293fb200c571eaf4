"""The timing callback with the real clock, beside modules that know nothing of this project."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.demos import LightningTransformer
from lightning.pytorch.demos.boring_classes import (
    BoringDataModuleNoLen,
    BoringModel,
    ManualOptimBoringModel,
    RandomDataset,
)
from lightning.pytorch.demos.lstm import LightningLSTM
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from mnist_gpu.timing.callback import TimingCallback
from mnist_gpu.timing.trainer import synchronise

# long enough that what is timed in one way alone (a validation loader's start) does not matter
STEPS = 512


class Words(torch.utils.data.Dataset):
    """Random words, each sentence with the one that follows it."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int):
        return torch.randint(100, (35,)), torch.randint(100, (35,))


def words_for(module: L.LightningModule) -> L.LightningModule:
    module.prepare_data = lambda: None  # it would download WikiText2
    module.train_dataloader = lambda: DataLoader(Words())
    return module


class GAN(L.LightningModule):
    """Two networks, two optimizers, by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64))
        self.discriminator = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
        self.loss = nn.BCEWithLogitsLoss()

    def judged(self, images: torch.Tensor, real: bool) -> torch.Tensor:
        answers = self.discriminator(images)
        return self.loss(answers, torch.full_like(answers, float(real)))

    def training_step(self, batch, batch_idx):
        of_generator, of_discriminator = self.optimizers()
        drawn = self.generator(torch.randn(len(batch[0]), 16))
        for optimizer, losses in (
            (of_generator, lambda: self.judged(drawn, True)),
            (of_discriminator, lambda: self.judged(drawn.detach(), False)),
        ):
            optimizer.zero_grad()
            self.manual_backward(losses())
            optimizer.step()

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.judged(batch[0], True))

    def configure_optimizers(self):
        networks = (self.generator, self.discriminator)
        return [torch.optim.Adam(network.parameters(), lr=1e-3) for network in networks]

    def train_dataloader(self):
        return DataLoader(TensorDataset(torch.randn(64 * STEPS, 64)), batch_size=64)

    def val_dataloader(self):
        return DataLoader(TensorDataset(torch.randn(640, 64)), batch_size=64)


def with_more_steps(module: L.LightningModule) -> L.LightningModule:
    module.train_dataloader = lambda: DataLoader(RandomDataset(32, STEPS))
    return module


def streaming() -> tuple[BoringModel, L.LightningDataModule]:
    return BoringModel(), BoringDataModuleNoLen()


FOREIGN = {
    "boring": lambda: (with_more_steps(BoringModel()), None),
    "by hand": lambda: (with_more_steps(ManualOptimBoringModel()), None),
    "transformer": lambda: (words_for(LightningTransformer(vocab_size=100)), None),
    "lstm": lambda: (words_for(LightningLSTM(vocab_size=100)), None),
    "gan": lambda: (GAN(), None),
    "stream": streaming,
}


class ByHand(L.Callback):
    """Training as one would time it: from an epoch's start to its end, without validation."""

    def __init__(self) -> None:
        self.train_s = self.since_s = 0.0

    def goes_on(self, *_) -> None:
        self.since_s = time.perf_counter()

    def stops(self, *_) -> None:
        self.train_s += time.perf_counter() - self.since_s

    on_train_epoch_start = on_validation_end = goes_on
    on_validation_start = on_train_epoch_end = stops


def differences(name: str, folder: Path) -> tuple[float, float, float]:
    """Seconds by which the whole is missed; by how much training differs; training."""
    module, data = FOREIGN[name]()
    by_hand, timing = ByHand(), TimingCallback()
    trainer = L.Trainer(
        max_epochs=2,
        num_sanity_val_steps=0,  # by hand one would take it for validation
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=[timing, by_hand],
    )
    began_s = time.perf_counter()
    trainer.fit(module, datamodule=data)
    wall_s = time.perf_counter() - began_s
    told = timing.summary()
    parts_s = sum(told[f"{phase}_s"] for phase in ("train", "eval", "checkpoint", "other"))
    assert told["batches"] > 0
    missed_s = abs(parts_s - wall_s)
    return missed_s - max(0.001 * wall_s, 0.002), told["train_s"] - by_hand.train_s, told["train_s"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_fit_is_split_without_loss_and_its_training_is_what_hand_timing_says(
    name, tmp_path
):
    # a machine that is busy may stop this process between two readings of one instant
    for _ in range(3):
        too_much_s, differs_s, train_s = differences(name, tmp_path)
        if too_much_s <= 0 and abs(differs_s) <= 0.01 * train_s:
            return
    assert too_much_s <= 0
    assert abs(differs_s) <= 0.01 * train_s


IMPORTED_ALONE = """
import sys
from importlib.abc import MetaPathFinder

class Nothing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.startswith("mnist_gpu.") and not name.startswith("mnist_gpu.timing"):
            raise ImportError(f"{name} is not to be had")

import mnist_gpu
assert not {"torch", "lightning"} & set(sys.modules)
sys.meta_path.insert(0, Nothing())
from mnist_gpu import TimingCallback
assert TimingCallback().summary()["status"] == "not started"
assert not any(name in sys.modules for name in ("hydra", "pydantic_core", "pandas"))
"""


def test_the_callback_needs_nothing_else_of_this_project_and_the_package_alone_loads_no_torch():
    # lightning itself loads pydantic where it is installed
    code = IMPORTED_ALONE.replace('"pydantic_core", ', "")
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_the_package_does_not_have_is_said_by_name():
    import mnist_gpu

    with pytest.raises(AttributeError, match="no attribute 'Stopwatches'"):
        mnist_gpu.Stopwatches  # noqa: B018


@pytest.mark.parametrize("kind", ["cuda:1", "mps", "xpu:0"])
def test_whatever_accelerator_pytorch_has_is_waited_for(monkeypatch, kind):
    waited = []
    accelerator = torch.device(torch.device(kind).type)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: accelerator)
    monkeypatch.setattr(torch.accelerator, "synchronize", waited.append)
    synchronise(torch.device(kind))
    assert waited == [torch.device(kind)]
    synchronise(torch.device("cpu"))
    assert len(waited) == 1


def test_a_device_that_is_not_the_current_accelerator_is_waited_for_by_its_own_module(monkeypatch):
    waited = []
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: None)
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waited.append("mps"))
    synchronise(torch.device("mps"))
    assert waited == ["mps"]


def test_a_device_that_nothing_can_wait_for_is_told_of(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: None)
    with pytest.warns(RuntimeWarning, match="'xla'"):
        synchronise(torch.device("xla"))


TWO_PROCESSES = """
import json
import sys
from pathlib import Path
import lightning.pytorch as L
from lightning.pytorch.demos.boring_classes import BoringModel
from mnist_gpu import TimingCallback

folder = sys.argv[1]
timing = TimingCallback(file=f"{folder}/timing.json")
trainer = L.Trainer(
    accelerator="cpu", devices=2, strategy="ddp", max_epochs=2, default_root_dir=folder,
    logger=False, enable_progress_bar=False, enable_model_summary=False, callbacks=[timing],
)
trainer.fit(BoringModel())
Path(folder, f"process-{trainer.global_rank}.json").write_text(json.dumps(timing.summary()))
assert timing._first_process == (trainer.global_rank == 0)
"""


@pytest.mark.slow
def test_each_of_two_processes_has_its_own_times_and_the_first_writes_its(tmp_path):
    script = tmp_path / "two.py"
    script.write_text(TWO_PROCESSES)
    ran = subprocess.run(
        [sys.executable, script, tmp_path],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    # Lightning advises that for means over processes; each has times of its own
    assert "sync_dist" not in ran.stderr
    for process in (0, 1):
        own = json.loads((tmp_path / f"process-{process}.json").read_text())
        # 64 batches for both
        assert (own["status"], own["batches"], len(own["epochs"])) == ("completed", 64, 2)
    told = json.loads((tmp_path / "timing.json").read_text())
    assert told["status"] == "completed"
    assert told["data_wait_s"] is None
    assert "wait for each other" in told["data_wait_unknown"]
    assert told["images"] == 64
    parts_s = sum(told[f"{phase}_s"] for phase in ("train", "eval", "checkpoint", "other"))
    assert parts_s == pytest.approx(told["total_s"])


def test_workers_of_a_validation_loader_are_evaluation_not_training(tmp_path):
    class Validated(BoringModel):
        def val_dataloader(self):
            return DataLoader(RandomDataset(32, 8), num_workers=1)

    timing = TimingCallback()
    began = []

    class Noting(L.Callback):
        def on_validation_start(self, trainer, pl_module):
            began.append(timing._fit.totals_ns()["eval"])

    trainer = L.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=tmp_path,
        callbacks=[timing, Noting()],
    )
    trainer.fit(Validated())
    # the process was started by then
    assert began[0] > 0


def test_the_documents_example_runs_with_any_module(tmp_path, monkeypatch):
    text = (Path(__file__).parents[2] / "docs" / "timing.md").read_text(encoding="utf-8")
    example = text.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    exec(example, {"model": BoringModel()})
    told = json.loads((tmp_path / "timing.json").read_text())
    assert len(told["epochs"]) == 3
    assert told["status"] == "completed"
