"""The traps of timing a Trainer, and what each costs or hides: `mlp` on random images."""

import contextlib
import io
from collections.abc import Callable
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import lightning.pytorch as L
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import RichProgressBar, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, TensorDataset

from mnist_gpu.bench.workload import BATCH
from mnist_gpu.engines.lightning import QUIET
from mnist_gpu.engines.torch.network import build_network
from mnist_gpu.protocol.network import named_network
from mnist_gpu.timing.callback import TimingCallback

STEPS, EVALUATED = 938, 10_000


class Plain(L.LightningModule):
    """A model of the protocol, with nothing that is logged unless `log` says how."""

    def __init__(self, model: str, steps: int = STEPS, **log: Any) -> None:
        super().__init__()
        self.network = build_network(named_network(model))
        self.steps, self.how = steps, log

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:  # noqa: D102
        loss = F.cross_entropy(self.network(batch[0]), batch[1])
        if self.how:
            self.log("loss", loss, **self.how)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:  # noqa: D102
        self.network(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:  # noqa: D102
        return torch.optim.Adam(self.parameters())

    def train_dataloader(self) -> Any:  # noqa: D102
        return loader(self.steps * BATCH)

    def val_dataloader(self) -> Any:  # noqa: D102
        return loader(EVALUATED)


def loader(images: int) -> DataLoader[Any]:
    """Batches of random images."""
    data = TensorDataset(torch.rand(images, 1, 28, 28), torch.randint(10, (images,)))
    return DataLoader(data, batch_size=BATCH)


def fit(module: L.LightningModule, *callbacks: L.Callback, **arguments: Any) -> None:
    """In a Trainer with everything off that `arguments` do not ask for; a bar is not shown."""
    defaults = {"max_epochs": 1, "limit_val_batches": 0, "callbacks": list(callbacks), **QUIET}
    unseen = io.StringIO()
    with contextlib.redirect_stdout(unseen), contextlib.redirect_stderr(unseen):
        L.Trainer(**{**defaults, **arguments}).fit(module)


class ByHand(L.Callback):
    """An epoch as it is often timed: from its first hook to its last, waiting for nothing."""

    def __init__(self) -> None:
        self.epoch_s: list[float] = []
        self.began_s = 0.0

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: D102
        self.began_s = perf_counter()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: D102
        self.epoch_s.append(perf_counter() - self.began_s)


def markdown(rounds: int, steps: int) -> str:
    """A line a trap."""
    lines = ["| trap | what is compared | here |", "|---|---|---|"]
    first, by_hand, timing = TimingCallback(), ByHand(), TimingCallback()
    fit(Plain("mlp", steps), first, max_epochs=4)
    told = first.summary()
    times = told["first_epoch_s"] / told["steady_epoch_s"]
    lines.append(f"| the first epoch | with the median of the next three | {times:.2f} times |")
    fit(Plain("mlp", steps), by_hand, timing, max_epochs=3, limit_val_batches=1.0)
    over = median(by_hand.epoch_s) / median(row.train_s for row in timing.epochs) - 1
    hooks = "`on_train_epoch_start` to `on_train_epoch_end`"
    lines.append(f"| validation inside the epoch | {hooks}, with `train_s` | {over:+.1%} |")
    lines.append(f"| a device that is not waited for | an epoch's last hook | {_unwaited()} |")
    waited = timing.summary()["data_wait_s"] / timing.summary()["train_s"]
    lines.append(f"| the loader | `data_wait_s`, with `train_s` | {waited:.1%} |")
    (_, plain_us), *others = variants(rounds, steps).items()
    for name, step_us in others:
        more_us = step_us - plain_us
        here = f"{more_us:+.0f} µs ({more_us / plain_us:+.0%})"
        lines.append(f"| {name} | a step, with one of {plain_us:.0f} µs without | {here} |")
    return "\n".join(lines)


def variants(rounds: int, steps: int) -> dict[str, float]:
    """Microseconds of a training step, medians of the rounds, the plain fit first."""
    bar = {"enable_progress_bar": True}
    with TemporaryDirectory() as folder:
        every: dict[str, Any] = {"logger": CSVLogger(folder), "log_every_n_steps": 1}
        ways: dict[str, tuple[dict[str, Any], Callable[[], list[L.Callback]], dict[str, Any]]] = {
            "plain": ({}, list, {}),
            "`self.log` of the epoch's mean": ({"on_step": False, "on_epoch": True}, list, {}),
            "`self.log(prog_bar=True)`, no bar": ({"prog_bar": True}, list, {}),
            "tqdm's bar": ({}, lambda: [TQDMProgressBar()], bar),
            "Rich's bar": ({}, lambda: [RichProgressBar()], bar),
            "tqdm's bar with a metric": ({"prog_bar": True}, lambda: [TQDMProgressBar()], bar),
            "`CSVLogger` at every step": ({"on_step": True}, list, every),
        }
        found: dict[str, list[float]] = {name: [] for name in ways}
        # what follows the first fit is warm
        for _ in range(rounds):
            for name, (how, callbacks, arguments) in ways.items():
                timing = TimingCallback(log=False)
                fit(Plain("mlp", steps, **how), timing, *callbacks(), **arguments)
                row = timing.epochs[0]
                # a logger's own work is in `other`, and belongs to its price
                found[name].append((row.train_s + row.other_s) / steps * 1e6)
    return {name: median(step_us) for name, step_us in found.items()}


def _unwaited() -> str:
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        return "no accelerator here: a CPU computes while it is called"
    by_hand, timing = ByHand(), TimingCallback()
    fit(Plain("cnn", 100), by_hand, timing, max_epochs=3)
    over = by_hand.epoch_s[-1] / timing.epochs[-1].train_s - 1
    return f"{over:+.1%} (`cnn`, {accelerator.type})"
