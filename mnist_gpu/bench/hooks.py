"""`python -m mnist_gpu.bench.hooks`: what `TimingCallback` costs, and what it keeps one from.

Its hooks in a tight loop, as a share of an epoch; blocks of steps with and without it, in pairs,
in one fit; and the traps of timing a Trainer, each beside a plain fit of `mlp` on random images.
"""

import argparse
import contextlib
import io
import itertools
import logging
import timeit
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import lightning.pytorch as L
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import LambdaCallback, RichProgressBar, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, TensorDataset

from mnist_gpu.bench.alone import BATCH
from mnist_gpu.bench.tables import machine, markdown, paired_ratio, publish
from mnist_gpu.engines.lightning import QUIET
from mnist_gpu.engines.torch.network import build_network
from mnist_gpu.protocol.network import named_network
from mnist_gpu.timing.callback import TimingCallback
from mnist_gpu.timing.trainer import synchronise

STEPS, EVALUATED = 938, 10_000
BLOCK_STEPS = {"mlp": 50, "cnn": 5}
# a small network's blocks are shorter, so that more of them are needed to see as little
PAIRS = {"mlp": 4, "cnn": 1}
WARM_UP_PAIRS = 2
CALLS, LOOPS = 4_000, 5
TRAP = ("trap", "what is compared", "here")
A_BATCH = "`on_train_batch_end` and `on_train_batch_start`"
BY_HAND = "`on_train_epoch_start` to `on_train_epoch_end`, with `train_s`"
# arguments of `self.log`, a bar, and whether a logger writes every step; the first is the plain fit
WAYS: dict[str, tuple[dict[str, bool], type[L.Callback] | None, bool]] = {
    "plain": ({}, None, False),
    "`self.log` of the epoch's mean": ({"on_step": False, "on_epoch": True}, None, False),
    "`self.log(prog_bar=True)`, no bar": ({"prog_bar": True}, None, False),
    "tqdm's bar": ({}, TQDMProgressBar, False),
    "Rich's bar": ({}, RichProgressBar, False),
    "tqdm's bar with a metric": ({"prog_bar": True}, TQDMProgressBar, False),
    "`CSVLogger` at every step": ({"on_step": True}, None, True),
}


class Plain(L.LightningModule):
    """A model of the protocol, with nothing that is logged unless `log` says how."""

    def __init__(self, model: str, **log: bool) -> None:
        super().__init__()
        self.network = build_network(named_network(model))
        self.how: dict[str, Any] = log

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        loss = F.cross_entropy(self.network(batch[0]), batch[1])
        if self.how:
            self.log("loss", loss, **self.how)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.network(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters())


def batches(images: int) -> DataLoader[Any]:
    """Random images and labels."""
    data = TensorDataset(torch.rand(images, 1, 28, 28), torch.randint(10, (images,)))
    return DataLoader(data, batch_size=BATCH)


def fit(module: Plain, train: Iterable[Any], *callbacks: L.Callback, **arguments: Any) -> None:
    """In a Trainer with everything off that `arguments` do not ask for; a bar is not shown."""
    defaults = {"max_epochs": 1, "limit_val_batches": 0, "callbacks": list(callbacks), **QUIET}
    # a bar is drawn as for a person, and costs what it costs
    unseen = io.StringIO()
    with contextlib.redirect_stdout(unseen), contextlib.redirect_stderr(unseen):
        L.Trainer(**{**defaults, **arguments}).fit(module, train, batches(EVALUATED))


class ByHand(L.Callback):
    """An epoch as it is often timed: from its first hook to its last, waiting for nothing."""

    def __init__(self) -> None:
        self.epoch_s: list[float] = []

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self.began_s = perf_counter()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.epoch_s.append(perf_counter() - self.began_s)


def traps(rounds: int, steps: int) -> Iterator[Sequence[str]]:
    """A trap, what is compared, and what came out here."""
    first, by_hand, timing = TimingCallback(), ByHand(), TimingCallback()
    train = batches(steps * BATCH)
    fit(Plain("mlp"), train, first, max_epochs=4)
    times = first.summary()["first_epoch_s"] / first.summary()["steady_epoch_s"]
    yield "the first epoch", "with the median of the next three", f"{times:.2f} times"
    # one fit for both: they time the very same epochs
    fit(Plain("mlp"), train, by_hand, timing, max_epochs=3, limit_val_batches=1.0)
    over = median(by_hand.epoch_s) / median(row.train_s for row in timing.epochs) - 1
    yield "validation inside the epoch", BY_HAND, f"{over:+.1%}"
    yield "a device that is not waited for", "an epoch's last hook", _unwaited()
    waited = timing.summary()["data_wait_s"] / timing.summary()["train_s"]
    yield "the loader", "`data_wait_s`, with `train_s`", f"{waited:.1%}"
    found: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(rounds):  # what follows the first fit is warm
        for name, way in WAYS.items():
            found[name].append(_epoch_s(train, *way) / steps * 1e6)
    plain_us, *others_us = (median(step_us) for step_us in found.values())
    for name, step_us in zip(list(WAYS)[1:], others_us, strict=True):
        more_us = step_us - plain_us
        here = f"{more_us:+.0f} µs ({more_us / plain_us:+.0%})"
        yield name, f"a step, with one of {plain_us:.0f} µs without", here


def _unwaited() -> str:
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        return "no accelerator here: a CPU computes while it is called"
    by_hand, timing = ByHand(), TimingCallback()
    fit(Plain("cnn"), batches(100 * BATCH), by_hand, timing, max_epochs=3)
    over = by_hand.epoch_s[-1] / timing.epochs[-1].train_s - 1
    return f"{over:+.1%} (`cnn`, {accelerator.type})"


def _epoch_s(
    train: Iterable[Any], log: dict[str, bool], bar: type[L.Callback] | None, logs: bool
) -> float:
    """Seconds of one epoch, a logger's own work included: it is in `other`."""
    timing = TimingCallback(log=False)
    arguments: dict[str, Any] = {"enable_progress_bar": bar is not None}
    with TemporaryDirectory() as folder:
        if logs:
            arguments |= {"logger": CSVLogger(folder), "log_every_n_steps": 1}
        fit(Plain("mlp", **log), train, timing, *([bar()] if bar else []), **arguments)
    return timing.epochs[0].train_s + timing.epochs[0].other_s


def hooks(pairs: int) -> str:
    """The hooks in a tight loop, as a share of an epoch, and the pairs of blocks."""
    ns = _tight_loop_ns()
    epoch_s: dict[str, float] = {}
    headings = ("model", "a step with", "over one with", "which takes", "pairs of blocks")
    blocks = markdown((*headings, "ratio (95 % interval)"), _blocks(pairs, epoch_s))
    shares = (f"of {model}'s epoch of {s:.1f} s" for model, s in epoch_s.items())
    calls = _calls(ns, list(epoch_s.values()))
    return f"{markdown(('call', 'ns', 'in an epoch', *shares), calls)}\n\n{blocks}"


def _tight_loop_ns() -> dict[str, float]:
    """Nanoseconds of what a running `TimingCallback` does, over and over, within its own fit."""
    timing = TimingCallback()
    ns: dict[str, float] = {}

    def measure(trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        def a_batch() -> None:
            # a wait ends but once: the start after each end
            timing.on_train_batch_end(trainer, module, outputs, batch, batch_idx)
            timing.on_train_batch_start(trainer, module, batch, batch_idx)

        def edges() -> None:
            with timing._phase("eval"):
                pass

        for name, call in ((A_BATCH, a_batch), ("into a phase and out of it", edges)):
            ns[name] = min(timeit.repeat(call, number=CALLS, repeat=LOOPS)) / CALLS * 1e9

    fit(Plain("mlp"), batches(BATCH), timing, LambdaCallback(on_train_batch_end=measure))
    return ns


def _calls(ns: dict[str, float], epochs_s: Sequence[float]) -> Iterator[Sequence[str]]:
    spent_s = 0.0
    for name, call_ns in ns.items():
        # training and one validation are two phases
        calls = STEPS if name == A_BATCH else 2
        call_s = calls * call_ns / 1e9
        spent_s += call_s
        yield name, f"{call_ns:,.0f}", str(calls), *(f"{call_s / s:.3%}" for s in epochs_s)
    yield "together", "", "", *(f"{spent_s / s:.3%}" for s in epochs_s)


class TakesTurns(L.Callback):
    """Gives one callback and another (or none) their turns in the Trainer's list, block by block;
    `one_s` and `other_s` are the seconds of the blocks with each, pair by pair."""

    def __init__(self, one: L.Callback, other: L.Callback | None, steps: int) -> None:
        self.steps = steps
        self.one_s: list[float] = []
        self.other_s: list[float] = []
        ours, theirs = (self.one_s, [one]), (self.other_s, [other] if other else [])
        # one, other, other, one: what drifts falls on both alike
        self.turns = itertools.cycle([ours, theirs, theirs, ours])
        self.seconds: list[float] = next(self.turns)[0]
        self.began_s = 0.0

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (batch_idx + 1) % self.steps:
            return
        # once a block: at every batch the host could not work ahead
        synchronise(pl_module.device)
        self.seconds.append(perf_counter() - self.began_s)
        self.seconds, callbacks = next(self.turns)
        # a new list: the Trainer is walking over the old one
        trainer.callbacks = [self, *callbacks]
        self.began_s = perf_counter()


def _blocks(pairs: int, epoch_s: dict[str, float]) -> Iterator[Sequence[str]]:
    """A row a comparison, each one long epoch; fills in the seconds of an epoch of each model."""
    some = list(batches(10 * BATCH))
    threads = torch.get_num_threads()
    for model, steps in BLOCK_STEPS.items():
        n = pairs * PAIRS[model]
        # in so small a network threads wait for each other, and how long hides what is looked for
        torch.set_num_threads(1 if model == "mlp" else threads)
        named = f"{model} (threads: {torch.get_num_threads()})"
        # Lightning walks every callback at each of its hooks, so an empty one is not free either
        for name, one, other_name, other in (
            ("`TimingCallback`", TimingCallback(), "none", None),
            ("an empty callback", L.Callback(), "none", None),
            ("`TimingCallback`", TimingCallback(), "an empty callback", L.Callback()),
        ):
            turns = TakesTurns(one, other, steps)
            limit = 2 * (n + WARM_UP_PAIRS) * steps
            fit(Plain(model), itertools.cycle(some), turns, one, limit_train_batches=limit)
            one_s, other_s = turns.one_s[WARM_UP_PAIRS:], turns.other_s[WARM_UP_PAIRS:]
            step_ms = median(other_s) / steps * 1e3
            epoch_s[model] = step_ms * STEPS / 1e3
            ratio = paired_ratio(one_s, other_s, digits=4)
            yield named, name, other_name, f"{step_ms:.2f} ms", f"{n} of {steps} steps", ratio
    torch.set_num_threads(threads)


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m mnist_gpu.bench.hooks", description=__doc__)
    parser.add_argument("--doc", type=Path, help="put the tables between this document's markers")
    parser.add_argument("--quick", action="store_true", help="a minute or two, for a first look")
    parser.add_argument("--pairs", type=int, help="of cnn's blocks (default 200; quick: 20)")
    parser.add_argument("--only", choices=("traps", "hooks"), help="one of the two tables")
    options = parser.parse_args()
    pairs = options.pairs or (20 if options.quick else 200)
    rounds, steps = (2, 200) if options.quick else (9, STEPS)
    warnings.filterwarnings("ignore")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    tables = {
        "traps": lambda: f"{machine()}.\n\n{markdown(TRAP, traps(rounds, steps))}",
        "hooks": lambda: f"{machine()}.\n\n{hooks(pairs)}",
    }
    chosen = {options.only: tables[options.only]} if options.only else tables
    publish("mnist_gpu.bench.hooks", options.doc, chosen)


if __name__ == "__main__":
    main()
