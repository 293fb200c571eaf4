"""`python -m mnist_gpu.bench.hooks`: what `TimingCallback` costs, and what it keeps one from.

Its hooks in a tight loop, as a share of an epoch; blocks of steps with and without it, in pairs,
in one fit; and the traps of timing a Trainer, each beside a plain fit.
"""

import argparse
import itertools
import logging
import timeit
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import lightning.pytorch as L

from mnist_gpu.bench import traps
from mnist_gpu.bench.tables import machine, markdown, paired_ratio, publish
from mnist_gpu.bench.traps import STEPS, Plain, fit, loader
from mnist_gpu.bench.variants import BATCH
from mnist_gpu.timing.callback import TimingCallback
from mnist_gpu.timing.device import synchronise

BLOCK_STEPS = {"mlp": 50, "cnn": 5}
# a small network's blocks are shorter, so that more of them are needed to see as little
PAIRS = {"mlp": 4, "cnn": 1}
WARM_UP_PAIRS = 2
CALLS, LOOPS = 4_000, 5


class TightLoop(L.Callback):
    """Calls the hooks of a running `TimingCallback` over and over, within its own fit.

    Attributes:
        ns: nanoseconds a call, the best of some loops, by what is called.
    """

    def __init__(self, timing: TimingCallback) -> None:
        self.timing = timing
        self.ns: dict[str, float] = {}

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        timing = self.timing

        def a_batch() -> None:
            # a wait ends but once: the start after each end
            timing.on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
            timing.on_train_batch_start(trainer, pl_module, batch, batch_idx)

        def edges() -> None:
            with timing._phase("eval"):
                pass

        self.ns["`on_train_batch_end` and `on_train_batch_start`"] = best_ns(a_batch)
        self.ns["into a phase and out of it"] = best_ns(edges)


def best_ns(call: Callable[[], None]) -> float:
    """Nanoseconds of a call, the best of some loops."""
    return min(timeit.repeat(call, number=CALLS, repeat=LOOPS)) / CALLS * 1e9


class TakesTurns(L.Callback):
    """Gives one callback and another (or none) their turns in the Trainer's list, block by block.

    Attributes:
        one_s, other_s: seconds of the blocks with the one and with the other, pair by pair.
    """

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
        synchronise(pl_module.device)
        self.seconds.append(perf_counter() - self.began_s)
        self.seconds, callbacks = next(self.turns)
        trainer.callbacks = [self, *callbacks]
        self.began_s = perf_counter()


class Endless:
    """The same few batches over and over."""

    def __init__(self) -> None:
        self.batches = list(loader(10 * BATCH))

    def __iter__(self) -> Iterator[Any]:
        return itertools.cycle(self.batches)


def turns(model: str, one: L.Callback, other: L.Callback | None, pairs: int) -> TakesTurns:
    """Train one long epoch; some pairs of blocks before those that count warm it up."""
    steps = BLOCK_STEPS[model]
    taking = TakesTurns(one, other, steps)
    module = Plain(model)
    module.train_dataloader = Endless  # type: ignore[method-assign]
    fit(module, taking, one, limit_train_batches=2 * (pairs + WARM_UP_PAIRS) * steps)
    del taking.one_s[:WARM_UP_PAIRS], taking.other_s[:WARM_UP_PAIRS]
    return taking


def hooks(pairs: int) -> str:
    """The hooks in a tight loop, and the pairs of blocks."""
    timing = TimingCallback()
    loops = TightLoop(timing)
    fit(Plain("mlp", 1), timing, loops)
    epoch_s: dict[str, float] = {}
    headings = ("model", "a step with", "over one with", "which takes", "pairs of blocks")
    blocks = markdown((*headings, "ratio (95 % interval)"), _blocks(pairs, epoch_s))
    shares = (f"of {model}'s epoch of {s:.1f} s" for model, s in epoch_s.items())
    calls = _calls(loops.ns, list(epoch_s.values()))
    return f"{markdown(('call', 'ns', 'in an epoch', *shares), calls)}\n\n{blocks}"


def _blocks(pairs: int, epoch_s: dict[str, float]) -> Iterator[Sequence[str]]:
    """A row a comparison; fills in the seconds of an epoch of each model."""
    for model, steps in BLOCK_STEPS.items():
        count = pairs * PAIRS[model]
        # Lightning walks every callback at each of its hooks, so an empty one is not free either
        for name, one, other_name, other in (
            ("`TimingCallback`", TimingCallback(), "none", None),
            ("an empty callback", L.Callback(), "none", None),
            ("`TimingCallback`", TimingCallback(), "an empty callback", L.Callback()),
        ):
            taking = turns(model, one, other, count)
            step_ms = median(taking.other_s) / steps * 1e3
            epoch_s[model] = step_ms * STEPS / 1e3
            ratio = paired_ratio(taking.one_s, taking.other_s, digits=4)
            yield model, name, other_name, f"{step_ms:.2f} ms", f"{count} of {steps} steps", ratio


def _calls(ns: dict[str, float], epochs_s: Sequence[float]) -> Iterator[Sequence[str]]:
    spent_s = 0.0
    for name, call_ns in ns.items():
        # training and one validation are two phases
        calls = STEPS if name.startswith("`on_") else 2
        call_s = calls * call_ns / 1e9
        spent_s += call_s
        yield name, f"{call_ns:,.0f}", str(calls), *(f"{call_s / s:.3%}" for s in epochs_s)
    yield "together", "", "", *(f"{spent_s / s:.3%}" for s in epochs_s)


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
    trap = ("trap", "what is compared", "here")
    tables = {
        "traps": lambda: f"{machine()}.\n\n{markdown(trap, traps.rows(rounds, steps))}",
        "hooks": lambda: f"{machine()}.\n\n{hooks(pairs)}",
    }
    chosen = {options.only: tables[options.only]} if options.only else tables
    publish("mnist_gpu.bench.hooks", options.doc, chosen)


if __name__ == "__main__":
    main()
