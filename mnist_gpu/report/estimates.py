"""Estimates as one ranked table; marked as what they are, and never among results."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TextIO

from mnist_gpu import files, output
from mnist_gpu.errors import UserError
from mnist_gpu.numbers import duration
from mnist_gpu.records.estimate import Estimate, read_json, read_lines
from mnist_gpu.records.fit import cost, fit, span

HEADINGS = ("whole run", "where", "engine", "cost", "does it fit?")
MARK = "ESTIMATES from about a minute of training each, not results"
MOST_BYTES = 1 << 20


def gather(paths: Sequence[str], given: TextIO | None = None) -> list[Estimate]:
    """The estimates in files, folders and, for `-`, in what is typed or piped in.

    Raises:
        UserError: there is none, or one cannot be read.
    """
    found: list[Estimate] = []
    for path in paths:
        pasted = path == "-"
        found += read_lines((given or sys.stdin).read(MOST_BYTES)) if pasted else _in(Path(path))
    if not found:
        raise UserError(
            f"{' '.join(paths)}: no estimate there; python -m mnist_gpu.estimate makes one"
        )
    return found


def show(estimates: Iterable[Estimate], out: TextIO | None = None) -> None:
    """Print the estimates, the shortest run first."""
    from rich.console import Console
    from rich.table import Table

    ranked = sorted(estimates, key=lambda one: one.total_s.value_s)
    table = Table(*HEADINGS, title=MARK, title_justify="left", show_lines=True)
    for one in ranked:
        fits = fit(one)
        precision = "" if one.precision == "float32" else f"\n{one.precision}"
        table.add_row(
            f"{duration(one.total_s.value_s)}\n{span(one.total_s)}",
            f"{one.label}\n{one.hardware}",
            f"{one.engine}\n{one.division}{precision}",
            cost(one).text(),
            f"session: {fits.session}\nweek: {fits.week}",
        )
    console = Console(file=out or output.here(), highlight=False, markup=False)
    console.print(table)
    unlike = sorted({f"{one.model}, {one.epochs} epochs, batch {one.batch_size}" for one in ranked})
    if len(unlike) > 1:
        console.print(f"not all of the same training: {'; '.join(unlike)}")


def _in(path: Path) -> list[Estimate]:
    found: list[Estimate] = []
    try:
        for name in sorted(path.rglob("estimate.json")) if path.is_dir() else [path]:
            with name.open("rb") as file:
                content = file.read(MOST_BYTES)
            lines = read_lines(content.decode("utf-8", "replace"))
            found += lines or [read_json(content, str(name))]
    except OSError as exc:
        raise UserError(files.trouble(exc, path)) from None
    return found
