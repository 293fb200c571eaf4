"""A Trainer whose every piece of work takes a scripted time, on a fake clock and a fake device.

Nothing else moves the clock, so that what a fit took can be said to the nanosecond.
"""

from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.loggers.logger import Logger
from torch.utils.data import DataLoader, Dataset, IterableDataset

from mnist_gpu.timing import callback
from mnist_gpu.timing.callback import TimingCallback

# nanoseconds, so different that a sum tells what is in it
PREPARE, SETUP = 1_000_000_000_000, 2_000_000_000_000
STEP, FETCH, WORKERS = 100_000_000, 1_000_000, 10_000_000
VAL_STEP, VAL_FETCH, VAL_WORKERS, VAL_END = 7_000_000, 700_000, 70_000, 7_000
SAVE, REMOVE, UPLOAD = 300_000_000_000, 50_000_000_000, 8_000_000_000
LOG, FLUSH, CLOSE = 30_000, 900, 5_000
BATCH, VAL_BATCH = 2, 2
EVALUATION = VAL_WORKERS + 2 * (2 * VAL_FETCH + VAL_STEP) + VAL_END


class World:
    """A clock and a device: work is queued at once, and done when somebody waits for it."""

    def __init__(self, folder: Path, monkeypatch) -> None:
        self.now_ns = 1_000
        self.queued_ns = 0
        self.waits = 0
        self.folder = folder
        monkeypatch.setattr(callback, "synchronise", self.synchronise)

    def clock(self) -> int:
        return self.now_ns

    def passes(self, elapsed_ns: int) -> None:
        self.now_ns += elapsed_ns

    def synchronise(self, device: torch.device) -> None:
        assert device == torch.device("cpu")
        self.waits += 1
        self.passes(self.queued_ns)
        self.queued_ns = 0


class Samples(Dataset):
    def __init__(self, world: World, length: int, fetch_ns: int = FETCH) -> None:
        self.world, self.length, self.fetch_ns = world, length, fetch_ns

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> torch.Tensor:
        self.world.passes(self.fetch_ns)
        return torch.zeros(3)


class Stream(IterableDataset):
    def __init__(self, world: World, length: int) -> None:
        self.world, self.length = world, length

    def __iter__(self):
        for _ in range(self.length):
            self.world.passes(FETCH)
            yield torch.zeros(3)


class Loader(DataLoader):
    """Says how long it takes to start its workers."""

    world: World
    start_ns = 0

    def __iter__(self):
        self.world.passes(self.start_ns)
        return super().__iter__()


def loader(world: World, data: Dataset, start_ns: int = WORKERS, **arguments: Any) -> Loader:
    made = Loader(data, **{"batch_size": BATCH, **arguments})
    made.world, made.start_ns = world, start_ns
    return made


class Module(L.LightningModule):
    """Four training batches and two of validation, unless the test says otherwise."""

    def __init__(self, world: World, batches: int = 4) -> None:
        super().__init__()
        self.world = world
        self.batches = batches
        self.layer = torch.nn.Linear(3, 1)
        self.raises: dict[str, BaseException] = {}
        self.seen = {"train": 0, "eval": 0}

    def prepare_data(self) -> None:
        self.world.passes(PREPARE)

    def setup(self, stage: str) -> None:
        self.world.passes(SETUP)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def train_dataloader(self):
        return loader(self.world, Samples(self.world, BATCH * self.batches))

    def val_dataloader(self):
        return loader(self.world, Samples(self.world, 2 * VAL_BATCH, VAL_FETCH), VAL_WORKERS)

    test_dataloader = predict_dataloader = val_dataloader

    def compute(self, phase: str, elapsed_ns: int) -> torch.Tensor:
        self.seen[phase] += 1
        self.world.queued_ns += elapsed_ns
        if self.seen[phase] == 2 and phase in self.raises:
            raise self.raises[phase]
        return self.layer(torch.ones(3)).sum()

    def training_step(self, batch, batch_idx):
        return self.compute("train", STEP)

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        return self.compute("eval", VAL_STEP)

    test_step = predict_step = validation_step

    def on_validation_epoch_end(self) -> None:
        self.world.passes(VAL_END)


class SlowDisk(TorchCheckpointIO):
    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world

    def save_checkpoint(self, checkpoint, path, storage_options=None) -> None:
        self.world.passes(SAVE)
        super().save_checkpoint(checkpoint, path, storage_options)

    def remove_checkpoint(self, path) -> None:
        self.world.passes(REMOVE)
        super().remove_checkpoint(path)


class SlowLogger(Logger):
    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.rows: list[tuple[int | None, dict[str, float]]] = []

    name, version = "slow", 0

    def log_hyperparams(self, params, *args, **kwargs) -> None:
        pass

    def log_metrics(self, metrics, step=None) -> None:
        self.world.passes(LOG)
        self.rows.append((step, dict(metrics)))

    def save(self) -> None:
        self.world.passes(FLUSH)

    def after_save_checkpoint(self, checkpoint_callback) -> None:
        self.world.passes(UPLOAD)

    def finalize(self, status: str) -> None:
        self.world.passes(CLOSE)


def trainer(world: World, timing: TimingCallback | None, *callbacks, **arguments) -> L.Trainer:
    """Without anything that the test does not ask for."""
    defaults = {
        "accelerator": "cpu",
        "max_epochs": 2,
        "logger": False,
        "enable_checkpointing": any(isinstance(c, L.callbacks.Checkpoint) for c in callbacks),
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "default_root_dir": world.folder,
    }
    ours = [timing] if timing is not None else []
    return L.Trainer(
        callbacks=[*ours, *callbacks], plugins=[SlowDisk(world)], **{**defaults, **arguments}
    )


def timed(world: World, module: L.LightningModule, *callbacks, timing=None, ckpt=None, **arguments):
    """Fit, hold the total against the clock, and return what was counted."""
    timing = timing or TimingCallback(clock=world.clock)
    made = trainer(world, timing, *callbacks, **arguments)
    return refit(world, made, timing, module, ckpt)


def refit(world: World, made: L.Trainer, timing, module, ckpt=None, carried_ns=0) -> dict:
    """As `timed`, with a Trainer that is there already."""
    began_ns = world.now_ns
    with suppress(ArithmeticError, SystemExit):
        made.fit(module, ckpt_path=ckpt, weights_only=False if ckpt else None)
    counted = counts(timing)
    if ckpt is None:
        total_ns = sum(counted[phase] for phase in PHASES)
        assert total_ns - carried_ns == world.now_ns - began_ns
    return counted


PHASES = ("train", "eval", "checkpoint", "other")


def counts(timing: TimingCallback) -> dict[str, Any]:
    """Nanoseconds, numbers, and rows of (epoch, train, wait, eval, checkpoint, other)."""
    summary = timing.summary()
    rows = [(row.epoch, *(_ns(getattr(row, name)) for name in ROW)) for row in timing.epochs]
    return {
        **{phase: _ns(summary[f"{phase}_s"]) for phase in PHASES},
        "wait": _ns(summary["data_wait_s"]),
        **{name: summary[name] for name in ("batches", "steps", "images")},
        "rows": rows,
        "status": summary["status"],
    }


ROW = ("train_s", "data_wait_s", "eval_s", "checkpoint_s", "other_s")


def _ns(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1e9)


# what a fit does before its first epoch: the first loader's workers are among it
BEFORE = PREPARE + SETUP + WORKERS
WAIT = BATCH * FETCH
# hyperparameters at the start, our own row after each of two epochs, the logger's end
LOGGED = FLUSH + 2 * (LOG + FLUSH) + CLOSE


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
