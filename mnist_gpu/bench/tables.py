"""The tables of a benchmark, each with a line that says on what."""

import json
import subprocess
import sys
from collections.abc import Sequence

from mnist_gpu.bench import paired
from mnist_gpu.bench.alone import ALONE
from mnist_gpu.bench.foreign import SWITCHES as FOREIGN
from mnist_gpu.bench.measure import STEPS, Row, interleave
from mnist_gpu.bench.statistics import paired_ratio
from mnist_gpu.bench.variants import defaults, describe, installed
from mnist_gpu.errors import UserError
from mnist_gpu.parity.pairs import SWITCHES


def speed(models: Sequence[str], variants: Sequence[str], repeats: int) -> str:
    """Every variant beside stock Lightning."""
    lines = [
        f"{machine()}; milliseconds per optimizer step of batch 64, medians of {repeats}"
        " interleaved repeats (least to most).",
        "",
        "| model | what | ms a step | times as fast as stock Lightning |",
        "|---|---|---|---|",
    ]
    for model in models:
        rows = interleave([Row(model, name) for name in variants or defaults(model)], repeats)
        stock = next((row for row in rows if row.variant == "lightning"), None)
        for row in rows:
            faster = _faster(stock, row)
            lines.append(f"| {model} | {describe(row.variant)} | {_ms(row)} | {faster} |")
    return "\n".join(lines)


def switches(models: Sequence[str], engines: Sequence[str], repeats: int) -> str:
    """What each switch brings here, alone, and all that help together."""
    lines = [
        f"{machine()}; {repeats} interleaved repeats. Above 1 a switch makes a step faster.",
        "",
        "| model | engine | switch | ms a step | times as fast as without (95 % interval) |",
        "|---|---|---|---|---|",
    ]
    for model in models:
        for engine in engines or [name for name in SWITCHES if installed(name)]:
            names = [engine, *(f"{engine}+{switch}" for switch in SWITCHES[engine])]
            lines += _against_first(interleave([Row(model, name) for name in names], repeats))
    return "\n".join(lines)


def foreign(where: str, steps: int, repeats: int) -> str:
    """The same for somebody's module; a switch that it cannot take is left out, and said."""
    rows = [Row(where.partition(":")[2], name) for name in ("stock", *FOREIGN)]
    found: list[Row] = []
    refused = []
    for row in rows[1:]:
        try:
            interleave([Row(row.model, row.variant)], 0, steps, where)
            found.append(row)
        except UserError as exc:
            refused.append(f"- {row.variant}: {exc}")
    measured = interleave([rows[0], *found], repeats, steps, where)
    lines = [
        f"{machine()}; {repeats} interleaved repeats of {steps} batches.",
        "",
        "| module | engine | switch | ms a step | times as fast as without (95 % interval) |",
        "|---|---|---|---|---|",
        *_against_first(measured),
    ]
    return "\n".join([*lines, *(["", *refused] if refused else [])])


def overhead(models: Sequence[str], engines: Sequence[str], pairs: int) -> str:
    """What this project adds to a framework's own loop, in pairs of blocks in one process."""
    lines = [f"{machine()}.", "", paired.HEADING]
    for model in models:
        for engine in engines or [name for name in ALONE if installed(name)]:
            command = [sys.executable, "-m", "mnist_gpu.bench.paired", engine, model, str(pairs)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                said = done.stderr.strip().splitlines()[-1:]
                raise UserError(f"bench: {engine}, {model}: {''.join(said)}")
            found = paired.Pairs(**json.loads(done.stdout.splitlines()[-1]))
            lines.append(paired.row(found))
            print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)


def where(models: Sequence[str], repeats: int) -> str:
    """Where the time of a stock step goes."""
    from mnist_gpu.bench import steps

    table = steps.markdown({model: STEPS[model] for model in models}, repeats)
    return f"{machine()}; medians.\n\n{table}"


def machine() -> str:
    """Processor, threads and versions: what the figures below it were measured on."""
    from importlib.metadata import version

    from mnist_gpu.measure import cpus
    from mnist_gpu.measure.hardware import cpu_model

    names = [name for name in ("torch", "lightning", "keras", "tensorflow") if installed(name)]
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    return f"On {cpus.threads()} threads of {cpu_model()}, {versions}"


def _against_first(rows: Sequence[Row]) -> list[str]:
    first = rows[0]
    lines = []
    for row in rows:
        engine, _, switch = row.variant.partition("+")
        gain = "" if row is first else str(paired_ratio(first.values, row.values))
        lines.append(f"| {row.model} | {engine} | {switch or 'stock'} | {_ms(row)} | {gain} |")
        print(lines[-1], file=sys.stderr, flush=True)
    return lines


def _ms(row: Row) -> str:
    return f"{row.median * 1e3:.2f} ({min(row.values) * 1e3:.2f} to {max(row.values) * 1e3:.2f})"


def _faster(stock: Row | None, row: Row) -> str:
    return "" if stock is None or row is stock else f"{stock.median / row.median:.2f}"
