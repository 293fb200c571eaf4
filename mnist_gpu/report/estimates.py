"""Estimates as one ranked table; marked as what they are, and never among results."""

import codecs
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from mnist_gpu import output
from mnist_gpu.errors import UserError
from mnist_gpu.numbers import counted, duration
from mnist_gpu.records.estimate import Estimate, read_json, read_lines
from mnist_gpu.records.fit import cost, fit, span
from mnist_gpu.records.store import printable

if TYPE_CHECKING:
    from rich.table import Table

HEADINGS = ("whole run", "where", "engine", "cost", "does it fit?")
NARROW = 60
# of a log that has lines in it
MOST_BYTES = 1 << 26


def gather(paths: Sequence[str]) -> tuple[list[Estimate], list[str]]:
    """The estimates in files, folders and, for `-`, in what is typed or piped in; and what is wrong
    with those that cannot be read.

    Raises:
        UserError: none can be read, or a path cannot.
    """
    found: list[Estimate] = []
    faults: list[str] = []
    for path in paths:
        good, bad = read_lines(_pasted()) if path == "-" else _in(Path(path))
        found, faults = found + good, faults + bad
    if not found:
        where = ", ".join("standard input" if path == "-" else path for path in paths)
        none = f"{where}: no estimate there; python -m mnist_gpu.estimate makes one"
        raise UserError("; ".join(faults) or none)
    return found, faults


def show(estimates: Iterable[Estimate], out: TextIO | None = None) -> None:
    """Print the estimates, the shortest run first, and what casts doubt on any."""
    # by the whole run: who waits, waits for that
    ranked = sorted(estimates, key=lambda one: one.total_s.value_s)
    console = output.console(out, markup=False)
    console.print(_list(ranked) if console.width < NARROW else _table(ranked))
    for one in ranked:
        of = f"{one.label}, {one.engine} on {one.hardware}"
        for warning in one.warnings:
            console.print(printable(f"warning: {of}: {warning}"))
    # a ranking of different trainings would answer nothing
    unlike = sorted({f"{one.model}, {_epochs(one)}, batch {one.batch_size}" for one in ranked})
    if len(unlike) > 1:
        console.print(f"not all of the same training: {'; '.join(unlike)}")


def _table(estimates: Sequence[Estimate]) -> "Table":
    from rich.table import Table

    table = Table(title=_mark(estimates), title_justify="left", show_lines=True)
    for heading in HEADINGS:
        # a long name goes on in the next line, and no end of it is lost
        table.add_column(heading, overflow="fold")
    for one in estimates:
        table.add_row(*("\n".join(cell) for cell in _cells(one)))
    return table


def _list(estimates: Sequence[Estimate]) -> str:
    """The same where a table has no room."""
    lines = [_mark(estimates)]
    for one in estimates:
        cells = zip(HEADINGS, _cells(one), strict=True)
        lines += ["", *(f"{heading}: {', '.join(cell)}" for heading, cell in cells)]
    return "\n".join(lines)


def _cells(one: Estimate) -> list[list[str]]:
    """What stands under each heading, line by line."""
    fits = fit(one)
    cells = [
        [duration(one.total_s.value_s), span(one.total_s)],
        [one.label, one.hardware],
        [one.engine, one.division, *([] if one.precision == "float32" else [one.precision])],
        [cost(one).text()],
        [f"session: {fits.session}", f"week: {fits.week}"],
    ]
    # somebody else's text
    return [[printable(text) for text in cell] for cell in cells]


def _epochs(one: Estimate) -> str:
    return counted(one.epochs, "epoch")


def _mark(estimates: Sequence[Estimate]) -> str:
    """What they are, and of how much training."""
    measured_s = sorted(one.measured_s for one in estimates)
    much = " to ".join(dict.fromkeys(duration(s) for s in (measured_s[0], measured_s[-1])))
    return f"ESTIMATES from {much} of training each, not results"


def _pasted() -> str:
    stream = sys.stdin
    if stream is None:  # closed
        return ""
    if stream.isatty():
        print("paste the lines here, then press Ctrl-D on an empty line", file=sys.stderr)
    # whatever its encoding: a line of an estimate is plain letters
    binary = getattr(stream, "buffer", None)
    return binary.read(MOST_BYTES).decode("utf-8", "replace") if binary else stream.read(MOST_BYTES)


def _in(path: Path) -> tuple[list[Estimate], list[str]]:
    found: list[Estimate] = []
    faults: list[str] = []
    try:
        for name in sorted(path.rglob("estimate.json")) if path.is_dir() else [path]:
            with name.open("rb") as file:
                content = file.read(MOST_BYTES).removeprefix(codecs.BOM_UTF8)
            good, bad = read_lines(content.decode("utf-8", "replace"))
            found, faults = found + good, faults + bad
            if not good and not bad:
                try:
                    found.append(read_json(content, str(name)))
                except UserError as exc:
                    faults.append(str(exc))
    except OSError as exc:
        why = (exc.strerror or str(exc)).lower()
        raise UserError(f"{exc.filename or path}: cannot be read: {why}") from None
    return found, faults
