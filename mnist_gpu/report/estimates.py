"""Estimates in words and as one ranked table; marked as what they are, and never among results."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from mnist_gpu import files, output
from mnist_gpu.errors import UserError
from mnist_gpu.records.estimate import Estimate, Span, line, read_json, read_lines
from mnist_gpu.report.cost import Cost, cost_of
from mnist_gpu.report.numbers import duration

HEADINGS = ("whole run", "where", "engine", "cost", "does it fit?")
MARK = "ESTIMATES from about a minute of training each, not results"
MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class Fit:
    """Whether a run fits what the platform allows.

    Attributes:
        session: `fits 9.0 h`, `may not fit 9.0 h`, `does not fit 9.0 h`, or that no limit is known.
        week: how many such runs its weekly quota has room for.
    """

    session: str
    week: str


def cost(estimate: Estimate) -> Cost:
    """Of the whole run: everybody charges for the time a machine is held."""
    return cost_of(estimate.price, estimate.kind, estimate.hardware, estimate.total_s.value_s)


def fit(estimate: Estimate) -> Fit:
    """Whether the run fits a session, and how often a week's quota."""
    limits, total = estimate.limits, estimate.total_s
    session = "no limit known"
    if limits.session_s is not None:
        answer = "may not fit"
        if total.high_s <= limits.session_s:
            answer = "fits"
        elif total.low_s > limits.session_s:
            answer = "does not fit"
        session = f"{answer} {duration(limits.session_s)}"
    week = "no quota known"
    if limits.quota_s_per_week is not None:
        count = int(limits.quota_s_per_week // max(total.value_s, 1))
        week = f"{count:,} such runs" if count != 1 else "1 such run"
    return Fit(session, week)


def sentences(estimate: Estimate) -> list[str]:
    """One estimate, a line each."""
    how = f"{estimate.epochs} epochs, from {duration(estimate.measured_s)} of training"
    fits, limits = fit(estimate), estimate.limits
    why = limits.reason if limits.session_s is None else f"{limits.source}, {limits.as_of}"
    held = cost(estimate)
    lines = [
        f"estimate       of this run here, not a result: {how}",
        f"training       {_span(estimate.train_s)}",
        f"whole run      {_span(estimate.total_s)}",
        f"cost           {held.text()}" + (f" ({held.basis})" if held.amount is not None else ""),
        f"session        {fits.session} ({why})",
    ]
    if limits.quota_s_per_week is not None:
        quota = duration(limits.quota_s_per_week)
        lines.append(f"quota          {fits.week} in {quota} a week")
    lines += [f"warning        {warning}" for warning in estimate.warnings]
    return [*lines, f"to paste       {line(estimate)}"]


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
            f"{duration(one.total_s.value_s)}\n{_range(one.total_s)}",
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


def _range(span: Span) -> str:
    return f"{duration(span.low_s)} to {duration(span.high_s)}"


def _span(span: Span) -> str:
    return f"about {duration(span.value_s)} ({_range(span)}, 9 times of 10)"


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
