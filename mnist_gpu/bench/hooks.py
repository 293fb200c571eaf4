"""`python -m mnist_gpu.bench.hooks`: what `TimingCallback` costs, and what it keeps one from.

Three tables: its hooks in a tight loop, as a share of an epoch; blocks of steps with and without
it, in pairs, interleaved in one fit; and the traps of timing a Trainer, each beside the plain fit.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from mnist_gpu.errors import UserError
from mnist_gpu.report.document import update
from mnist_gpu.timing.callback import TimingCallback
from mnist_gpu.timing.device import synchronise

BATCH, STEPS, EVALUATED = 64, 938, 10_000
RESAMPLES = 10_000
CALLS = 20_000


class Classifier(L.LightningModule):
    """The protocol's `cnn` or `mlp` as a tutorial writes it, on random images."""

    def __init__(self, model: str, steps: int, evaluated: int = 0, **log: Any) -> None:
        super().__init__()
        self.network = nn.Sequential(*LAYERS[model]())
        self.steps, self.evaluated, self.logged = steps, evaluated, log

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        images, labels = batch
        loss = nn.functional.cross_entropy(self.network(images), labels)
        if self.logged:
            self.log("loss", loss, **self.logged)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.network(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters())

    def train_dataloader(self) -> DataLoader:
        return _loader(BATCH * self.steps)

    def val_dataloader(self) -> DataLoader:
        return _loader(self.evaluated)


def _cnn() -> list[nn.Module]:
    convolutions = [nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU()]
    pooled = [nn.MaxPool2d(2), nn.Dropout(0.25), nn.Flatten()]
    return [
        *convolutions,
        *pooled,
        nn.Linear(9216, 128),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(128, 10),
    ]


def _mlp() -> list[nn.Module]:
    return [nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10)]


LAYERS: dict[str, Callable[[], list[nn.Module]]] = {"cnn": _cnn, "mlp": _mlp}


def _loader(images: int) -> DataLoader:
    data = TensorDataset(torch.rand(images, 1, 28, 28), torch.randint(10, (images,)))
    return DataLoader(data, batch_size=BATCH)


def _fit(module: L.LightningModule, *callbacks: L.Callback, **arguments: Any) -> None:
    off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    quiet: dict[str, Any] = dict.fromkeys(off, False)
    defaults = {"max_epochs": 1, "num_sanity_val_steps": 0, "callbacks": list(callbacks)}
    with _no_output():
        L.Trainer(**{**quiet, **defaults, **arguments}).fit(module)


@contextmanager
def _no_output() -> Any:
    """A progress bar does its work, and nobody has to see it."""
    with open(os.devnull, "w") as nowhere:
        out, error, sys.stdout, sys.stderr = sys.stdout, sys.stderr, nowhere, nowhere
        try:
            yield
        finally:
            sys.stdout, sys.stderr = out, error


class Hooks(L.Callback):
    """Calls the hooks of a running `TimingCallback` over and over, once.

    Attributes:
        ns: nanoseconds a call, by the hook's name.
    """

    def __init__(self, timing: TimingCallback) -> None:
        self.timing = timing
        self.ns: dict[str, float] = {}

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, i: int
    ) -> None:
        if self.ns:
            return
        timing = self.timing
        # one waits for a batch only after the other: together, as the Trainer calls them
        ended = _ns(lambda: timing.on_train_batch_end(trainer, module, outputs, batch, i))

        def both() -> None:
            timing.on_train_batch_end(trainer, module, outputs, batch, i)
            timing.on_train_batch_start(trainer, module, batch, i)

        def edge() -> None:
            with timing._phase("eval"):
                pass

        self.ns = {
            "on_train_batch_start": _ns(both) - ended,
            "on_train_batch_end": ended,
            "a validation's two edges": _ns(edge),
        }


def _ns(call: Callable[[], None]) -> float:
    """Nanoseconds of a call, the best of five loops."""
    best = float("inf")
    for _ in range(5):
        began_ns = time.perf_counter_ns()
        for _ in range(CALLS // 5):
            call()
        best = min(best, (time.perf_counter_ns() - began_ns) / (CALLS // 5))
    return best


class Alternating(L.Callback):
    """Takes another callback out of the Trainer's list and puts it back, block by block.

    Attributes:
        block_s: seconds of each block; of every pair the first is (with, without) in turn.
    """

    def __init__(self, other: L.Callback, steps: int) -> None:
        self.other, self.steps = other, steps
        self.block_s: list[tuple[bool, float]] = []
        self.present = True
        self.since_s = 0.0

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, i: int
    ) -> None:
        if (i + 1) % self.steps:
            return
        synchronise(module.device)
        self.block_s.append((self.present, time.perf_counter() - self.since_s))
        # with, without, without, with: what drifts falls on both alike
        self.present = (len(self.block_s) + 1) // 2 % 2 == 0
        trainer.callbacks = [self, self.other] if self.present else [self]
        self.since_s = time.perf_counter()


@dataclass(frozen=True)
class Pairs:
    """Blocks of steps with a callback and without it, in pairs."""

    model: str
    callback: str
    steps: int
    ratios: np.ndarray
    step_ms: float

    def interval(self) -> tuple[float, float]:
        """95 % bootstrap interval of the geometric mean ratio."""
        logs = np.log(self.ratios)
        drawn = np.random.default_rng(0).choice(logs, (RESAMPLES, len(logs))).mean(axis=1)
        low, high = np.exp(np.quantile(drawn, [0.025, 0.975]))
        return float(low), float(high)


def paired(model: str, other: L.Callback, pairs: int, steps: int) -> Pairs:
    """Train one long epoch, the callback taking turns; the first pair only warms up."""
    alternating = Alternating(other, steps)
    module = Classifier(model, steps)
    endless: Any = _Endless(steps)
    module.train_dataloader = lambda: endless  # type: ignore[method-assign]
    _fit(module, alternating, other, limit_train_batches=2 * (pairs + 1) * steps)
    blocks = alternating.block_s[2:]
    both = [dict(blocks[i : i + 2]) for i in range(0, len(blocks), 2)]
    ratios = np.array([pair[True] / pair[False] for pair in both])
    step_ms = median(pair[False] for pair in both) / steps * 1e3
    return Pairs(model, type(other).__name__, steps, ratios, step_ms)


class _Endless:
    """The same few batches over and over."""

    def __init__(self, steps: int) -> None:
        self.batches = list(_loader(BATCH * min(steps, 50)))

    def __iter__(self) -> Any:
        while True:
            yield from self.batches


def cost_table(pairs: int, blocks: dict[str, int]) -> str:
    """The hooks in a tight loop, and the paired blocks, as Markdown."""
    compared = [
        paired(model, callback(), pairs, steps)
        for model, steps in blocks.items()
        for callback in (TimingCallback, L.Callback)
    ]
    timing = TimingCallback()
    hooks = Hooks(timing)
    _fit(Classifier("mlp", 2), timing, hooks)
    epochs_s = {row.model: row.step_ms * STEPS / 1e3 for row in compared}
    heads = " | ".join(f"of {model}'s {s:.1f} s" for model, s in epochs_s.items())
    lines = [
        f"| hook | ns a call | calls an epoch | {heads} |",
        "|---|" + "---|" * (2 + len(epochs_s)),
    ]
    totals_s = 0.0
    for name, ns in hooks.ns.items():
        calls = STEPS if name.startswith("on_train_batch") else 1
        totals_s += ns * calls / 1e9
        shares = " | ".join(f"{ns * calls / 1e9 / s:.4%}" for s in epochs_s.values())
        lines.append(f"| `{name}` | {ns:,.0f} | {calls} | {shares} |")
    shares = " | ".join(f"**{totals_s / s:.4%}**" for s in epochs_s.values())
    lines += [f"| together | | | {shares} |", ""]
    lines += [
        "| model | callback | pairs of blocks | steps a block | time with it / without (95 %) |"
    ]
    lines += ["|---|---|---|---|---|"]
    for row in compared:
        low, high = row.interval()
        name = "an empty `Callback`" if row.callback == "Callback" else f"`{row.callback}`"
        mean = float(np.exp(np.log(row.ratios).mean()))
        lines.append(
            f"| {row.model} | {name} | {len(row.ratios)} | {row.steps} |"
            f" {mean:.4f} ({low:.4f} to {high:.4f}) |"
        )
    return "\n".join(lines)


class Naive(L.Callback):
    """An epoch timed as in many projects: from its first hook to its last, without waiting."""

    def __init__(self, wait: bool = False) -> None:
        self.epoch_s: list[float] = []
        self.since_s = 0.0

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        self.since_s = time.perf_counter()

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        self.epoch_s.append(time.perf_counter() - self.since_s)


def traps_table(rounds: int, steps: int) -> str:
    """What each trap costs or hides, as Markdown: mlp, one process, variants in turn."""
    lines = ["| trap | measured | here |", "|---|---|---|"]
    first = TimingCallback()
    _fit(Classifier("mlp", steps), first, max_epochs=4)
    epochs = [row.train_s for row in first.epochs]
    ratio = epochs[0] / median(epochs[1:])
    lines.append(f"| the first epoch | against the median of the next three | {ratio:.2f} times |")
    naive, timing = Naive(), TimingCallback()
    _fit(Classifier("mlp", STEPS, EVALUATED), naive, timing, max_epochs=2)
    more = naive.epoch_s[-1] / timing.epochs[-1].train_s - 1
    lines.append(
        "| validation inside the epoch | from `on_train_epoch_start` to `on_train_epoch_end`,"
        f" against `train_s` | {more:+.1%} |"
    )
    waited = timing.summary()["data_wait_s"] / timing.summary()["train_s"]
    lines.append(f"| the loader | `data_wait_s` as a share of `train_s` | {waited:.1%} |")
    lines.append(
        f"| a device that works on | the same epoch without waiting for it | {_unwaited()} |"
    )
    plain, *others = _variants(rounds, steps).items()
    for name, step_us in others:
        more_us = step_us - plain[1]
        told = f"{more_us:+.0f} µs a step ({more_us / plain[1]:+.1%})"
        lines.append(
            f"| {name} | `train_s` a step, against a fit without ({plain[1]:.0f} µs) | {told} |"
        )
    return "\n".join(lines)


def _unwaited() -> str:
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        return "a CPU computes while it is called: nothing to wait for"
    naive, timing = Naive(), TimingCallback()
    _fit(Classifier("cnn", 100), timing, naive, max_epochs=2)
    return f"{naive.epoch_s[-1] / timing.epochs[-1].train_s - 1:+.1%} on {accelerator.type}"


def _variants(rounds: int, steps: int) -> dict[str, float]:
    """Microseconds of a training step, the median of the rounds, by variant."""
    from lightning.pytorch.callbacks import RichProgressBar, TQDMProgressBar
    from lightning.pytorch.loggers import CSVLogger

    with TemporaryDirectory() as folder:
        bar = {"enable_progress_bar": True}
        variants: dict[
            str, tuple[dict[str, Any], Callable[[], list[L.Callback]], dict[str, Any]]
        ] = {
            "plain": ({}, list, {}),
            "`self.log` once an epoch": ({"on_step": False, "on_epoch": True}, list, {}),
            "`self.log(prog_bar=True)`, bar off": ({"prog_bar": True}, list, {}),
            "tqdm's bar": ({}, lambda: [TQDMProgressBar()], bar),
            "Rich's bar": ({}, lambda: [RichProgressBar()], bar),
            "tqdm's bar and `prog_bar=True`": (
                {"prog_bar": True},
                lambda: [TQDMProgressBar()],
                bar,
            ),
            "`CSVLogger` at every step": (
                {"on_step": True},
                list,
                {"logger": CSVLogger(folder), "log_every_n_steps": 1},
            ),
        }
        found: dict[str, list[float]] = {name: [] for name in variants}
        for _ in range(rounds):
            for name, (log, callbacks, arguments) in variants.items():
                timing = TimingCallback(log=False)
                _fit(Classifier("mlp", steps, **log), timing, *callbacks(), **arguments)
                found[name].append(timing.epochs[0].train_s / steps * 1e6)
    return {name: median(step_us) for name, step_us in found.items()}


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m mnist_gpu.bench.hooks", description=__doc__)
    parser.add_argument("--doc", type=Path, help="put the tables between this document's markers")
    parser.add_argument("--quick", action="store_true", help="a minute or two, for a first look")
    parser.add_argument("--pairs", type=int, help="of blocks (default 200; quick: 20)")
    arguments = parser.parse_args()
    pairs = arguments.pairs or (20 if arguments.quick else 200)
    import logging
    import warnings

    warnings.filterwarnings("ignore")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    rounds, steps = (2, 200) if arguments.quick else (9, STEPS)
    about = (
        f"{torch.get_num_threads()} threads, torch {torch.__version__.split('+')[0]},"
        f" lightning {L.__version__}."
    )
    tables = {
        "traps": traps_table(rounds, steps),
        "hooks": cost_table(pairs, {"mlp": 50, "cnn": 4}),
    }
    for name, table in tables.items():
        print(f"{about}\n\n{table}\n", flush=True)
        if arguments.doc:
            try:
                update(arguments.doc, f"{about}\n\n{table}\n", name)
            except UserError as exc:
                sys.exit(f"mnist_gpu.bench.hooks: {exc}")


if __name__ == "__main__":
    main()
