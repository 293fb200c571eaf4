"""The tables of a benchmark: what they are made of, and those of speed."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from mnist_gpu.bench import foreign
from mnist_gpu.bench.turns import Task, interleave
from mnist_gpu.bench.variants import (
    ALONE,
    defaults,
    describe,
    epoch,
    installed,
    make,
    slice_of,
    switches_on,
)
from mnist_gpu.errors import UserError

# An epoch of the protocol has 938. What it has once (its order, a loader, memory that another turn
# has taken from the caches) weighs in a short block as in no training.
STEPS = {"cnn": 120, "mlp": 938, "lenet5": 469}
# what an epoch has once (its order, its data made ready) weighs more in a small network's block
BLOCK_STEPS = {"cnn": 20, "mlp": 200}
# where memory happens to lie makes one of two like loops up to some per cent the faster (pages that
# a step has to fetch anew), for as long as both live: they are made anew, and chance falls on both
MADE = 10
RESAMPLES = 5000
GAINS = ("model", "engine", "switch", "ms a step", "times as fast as without (95 % interval)")


def publish(program: str, doc: Path | None, tables: Mapping[str, Callable[[], str]]) -> None:
    """Make tables, print each, and put it between the markers of its name in a document.

    What goes wrong is said in one line, and ends the process with exit code 1.
    """
    from mnist_gpu.report.document import replaced, update

    try:
        if doc:  # a document that cannot take a table is told before minutes of work
            for name in tables:
                replaced(doc, "", name)
        # each is written once it is there: the next may fail after an hour
        for name, measure in tables.items():
            table = measure()
            print(table, flush=True)
            if doc:
                update(doc, f"{table}\n", name)
    except UserError as exc:
        sys.exit(f"{program}: {exc}")
    except KeyboardInterrupt:
        sys.exit(130)


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; each row is also told on standard error once it is there, as some take an hour."""
    lines = [f"| {' | '.join(headings)} |", "|---" * len(headings) + "|"]
    for row in rows:
        lines.append(f"| {' | '.join(row)} |")
        print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)


def machine() -> str:
    """Processor, threads, GPU and versions: what the figures below it were measured on."""
    from importlib.metadata import version

    from mnist_gpu.measure import cpus, gpus
    from mnist_gpu.measure.hardware import cpu_model

    names = [name for name in ("torch", "lightning", "keras", "tensorflow") if installed(name)]
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    gpu, _ = gpus.find(os.environ)
    beside = f" and {gpu.read('name')}" if gpu else ""
    return f"On {cpus.threads()} threads of {cpu_model()}{beside}, {versions}"


def spread(values: Sequence[float], digits: int = 2) -> str:
    """The median and, in brackets, the least and the most."""
    least, most = min(values), max(values)
    return f"{median(values):,.{digits}f} ({least:,.{digits}f} to {most:,.{digits}f})"


def paired_ratio(
    ones: Sequence[float], others: Sequence[float], digits: int = 3, together: int = 1
) -> str:
    """Median of `ones` over median of `others`, and its 95 % interval by bootstrap over the pairs;
    number i of both was measured side by side, and every `together` in a row share something."""
    a, b = np.asarray(ones), np.asarray(others)
    # whole pairs are drawn, and whole groups of them: what befell both, or all, stays together
    groups = np.arange(len(a)).reshape(-1, together)
    picks = np.random.default_rng(0).integers(len(groups), size=(RESAMPLES, len(groups)))
    picked = groups[picks].reshape(RESAMPLES, -1)
    drawn = np.median(a[picked], axis=1) / np.median(b[picked], axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    value = np.median(a) / np.median(b)
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def speed(models: Sequence[str], variants: Sequence[str], repeats: int) -> str:
    """Every variant beside stock Lightning."""

    def rows() -> Iterator[Sequence[str]]:
        for model in models:
            found = _step_s(_tasks(model, variants or defaults()), STEPS[model], repeats)
            stock = median(found.get(f"{model} lightning", [0.0]))
            for key, step_s in found.items():
                name = key.partition(" ")[2]
                faster = f"{stock / median(step_s):.2f}" if stock and name != "lightning" else ""
                yield model, describe(name), _ms(step_s), faster

    headings = ("model", "what", "ms a step", "times as fast as stock Lightning")
    return (
        f"{machine()}; milliseconds per optimizer step of batch 64, medians of {repeats}"
        f" interleaved repeats (least to most).\n\n{markdown(headings, rows())}"
    )


def switches(models: Sequence[str], engines: Sequence[str], repeats: int) -> str:
    """What each switch brings here, alone; one that cannot be had here is left out, and said."""
    refused: list[str] = []

    def rows() -> Iterator[Sequence[str]]:
        for model in models:
            for engine in engines or [name for name in ALONE if installed(name)]:
                there = switches_on(engine, "auto")
                tasks = _tasks(model, [engine, *(f"{engine}+{switch}" for switch in there)])
                yield from _gains(_step_s(tasks, STEPS[model], repeats, refused))

    said = f"{repeats} interleaved repeats. Above 1 a switch makes a step faster."
    return _gain_table(said, rows(), refused)


def module(where: str, steps: int, repeats: int) -> str:
    """The same for somebody's module; a switch that it cannot take is left out, and said."""
    refused: list[str] = []
    stock = f"{where.partition(':')[2]} lightning"
    tasks = {stock: partial(foreign.epoch, where, None, steps)}
    for switch in foreign.SWITCHES:
        tasks[f"{stock}+{switch}"] = partial(foreign.epoch, where, switch, steps)
    rows = _gains(_step_s(tasks, steps, repeats, refused))
    return _gain_table(f"{repeats} interleaved repeats of {steps} batches.", rows, refused)


def overhead(models: Sequence[str], engines: Sequence[str], pairs: int) -> str:
    """What this project adds to a framework's own loop, in pairs of blocks in one process."""
    each = -(-pairs // MADE)

    def rows() -> Iterator[Sequence[str]]:
        for model in models:
            steps = BLOCK_STEPS[model]
            for engine in engines or [name for name in ALONE if installed(name)]:
                task = partial(blocks, engine, model, steps, each)
                [sides] = interleave({f"{model} {engine}": task}, 1)[f"{model} {engine}"]
                through, alone = (f"{median(side) / steps * 1e3:.2f}" for side in sides)
                ratio = paired_ratio(sides[0], sides[1], together=each)
                yield model, engine, through, alone, ratio, f"{MADE} x {each} of {steps} steps"

    headings = ("model", "engine", "ms a step", "alone", "ratio (95 % interval)", "pairs of blocks")
    return f"{machine()}.\n\n{markdown(headings, rows())}"


def blocks(engine: str, model: str, steps: int, pairs: int) -> Callable[[], list[list[float]]]:
    """A function that gives seconds of blocks of steps: through the engine, and alone.

    The two take turns, the first of a pair by lot: drift and order go into both alike. Both are
    made anew, the first of them by lot, after so many pairs.
    """
    load, names = slice_of(model, steps), (engine, f"alone:{engine}")
    lots = np.random.default_rng(0)

    def measure() -> list[list[float]]:
        found: list[list[float]] = [[], []]
        for _ in range(MADE):
            ways = {way: make(names[way], load) for way in lots.permutation(2)}
            for once in ways.values():  # the first call warms up
                once()
            for _ in range(pairs):
                for way in lots.permutation(2):
                    found[way].append(ways[way]())
        return found

    return measure


def _tasks(model: str, names: Sequence[str]) -> dict[str, Task]:
    return {f"{model} {name}": partial(epoch, name, model, STEPS[model]) for name in names}


def _step_s(
    tasks: Mapping[str, Task], steps: int, repeats: int, refused: list[str] | None = None
) -> dict[str, list[float]]:
    """Seconds of an optimizer step in each repeat of each task."""
    found = interleave(tasks, repeats, refused)
    # without the first there is nothing to compare with
    if refused and next(iter(tasks)) not in found:
        raise UserError(refused[0])
    return {key: [s / steps for s in elapsed_s] for key, elapsed_s in found.items()}


def _gains(step_s: Mapping[str, Sequence[float]]) -> Iterator[Sequence[str]]:
    """Every `MODEL ENGINE+SWITCH` beside the first, which has no switch."""
    first = next(iter(step_s.values()))
    for key, values in step_s.items():
        model, _, variant = key.partition(" ")
        engine, _, switch = variant.partition("+")
        gain = "" if values is first else paired_ratio(first, values)
        yield model, engine, switch or "stock", _ms(values), gain


def _gain_table(said: str, rows: Iterable[Sequence[str]], refused: Sequence[str]) -> str:
    """A table, and beneath it what was left out, with the reason."""
    table = f"{machine()}; {said}\n\n{markdown(GAINS, rows)}"
    return "\n".join([table, *([""] if refused else []), *(f"- {line}" for line in refused)])


def _ms(step_s: Sequence[float]) -> str:
    return spread([1e3 * seconds for seconds in step_s])
