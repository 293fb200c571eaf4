"""The results as tables for people: in the terminal and in Markdown."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from mnist_gpu.records.facts import facts
from mnist_gpu.report.groups import CATEGORIES
from mnist_gpu.report.numbers import efficiency, percent, seconds
from mnist_gpu.report.rows import Row
from mnist_gpu.records.store import printable
from mnist_gpu.report.summary import Summary

HEADINGS = (
    "Row",
    "Platform",
    "Trained by",
    "On",
    "Training time",
    "Whole run",
    "Test accuracy",
    "Cost of a run",
    "n",
)
RIGHT_ALIGNED = ("Training time", "Whole run", "Test accuracy", "Cost of a run", "n")
SCALING_TITLE = "Efficiency against number of devices: time on 1 / (N x time on N)"
SCALING_HEADINGS = ("Rows", "Platform", "Devices", "Training time", "Efficiency")
MOST_ROWS = 60
TBD = "TBD"
WIDTH_IN_FILES = 200


@dataclass(frozen=True)
class Line:
    """One line of a table; `cells` in the order of `HEADINGS`."""

    cells: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True)
class Section:
    """One category of runs."""

    title: str
    lines: list[Line]
    left_out: int = 0


def sections(summary: Summary) -> list[Section]:
    """The tables in order: the standard first, its promised rows on top, TBD where none is."""
    found = []
    for category, title in CATEGORIES.items():
        rows = [row for row in summary.rows if row.category == category]
        if category == "standard":
            lines = list(_promised_then_others(rows))
        else:
            lines = [line(row, row.label) for row in rows]
        if lines:
            shown = lines[:MOST_ROWS]
            found.append(Section(title, shown, len(lines) - len(shown)))
    return found


def line(row: Row, label: str) -> Line:
    """The cells of a row: medians and standard deviations over its runs."""
    configuration = row.group.configuration
    trained_by = row.engine
    if configuration.precision != "float32":
        trained_by += f", {configuration.precision}"
    accuracy = percent(row.accuracy.mean, row.accuracy.sd)
    if row.gate.passed is False:
        accuracy += " (fails the gate)"
    cost = row.cost.text()
    if row.cost.usd_text():
        cost += f" ({row.cost.usd_text()})"
    notes = [*configuration.deviations, *row.doubts[: 3 if row.n > 2 else 4]]
    if row.gate.passed is False:
        notes.insert(0, f"fails the accuracy gate: {row.gate.basis}")
    cells = (
        row.ref,
        label,
        trained_by,
        configuration.machine,
        row.training_time,
        seconds(row.total_s.median, row.total_s.sd),
        accuracy,
        cost,
        str(row.n),
    )
    return Line(cells, "; ".join(notes))


def scaling_lines(summary: Summary) -> list[tuple[str, ...]]:
    """The cells of `SCALING_HEADINGS`, one line for each row on several devices."""
    return [
        (
            f"{entry.row.ref} against {entry.base.ref}",
            f"{entry.row.label}, {entry.row.engine}",
            f"{entry.devices}{', 64 images on each' if entry.weak else ''}",
            seconds(entry.row.train_s.median, entry.row.train_s.sd),
            efficiency(entry.efficiency.value, entry.efficiency.interval),
        )
        for entry in summary.scaling[:MOST_ROWS]
    ]


def markdown(summary: Summary) -> str:
    """What stands between the README's markers, without them; ends with a newline."""
    parts = ["*Made from the records in `results/` by `python -m mnist_gpu.report`; not edited.*"]
    for section in sections(summary):
        parts.append(f"**{section.title}**")
        parts.append(_markdown_table(section))
        notes = [entry for entry in section.lines if entry.note]
        if notes:
            parts.append("\n".join(f"- {entry.cells[0]}: {escape(entry.note)}" for entry in notes))
    if summary.scaling:
        parts.append(f"**{SCALING_TITLE}**")
        lines = [f"| {' | '.join(SCALING_HEADINGS)} |", "|---|---|---:|---:|---:|"]
        lines += [f"| {' | '.join(map(escape, cells))} |" for cells in scaling_lines(summary)]
        parts.append("\n".join(lines))
    parts.append(_legend(summary))
    if summary.findings:
        parts.append("**Key findings**")
        parts.append(
            "\n".join(
                f"- {escape(finding.text)} ({', '.join(map(_link, finding.refs))})"
                for finding in summary.findings
            )
        )
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Make text of any origin plain in GitHub's Markdown."""
    text = re.sub(r"([\\`*_\[\]<>|~&])", r"\\\1", printable(text))
    return text.replace("://", "&#58;//")


def print_console(summary: Summary) -> None:
    """Print the tables and findings to the terminal."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:
        # a file or a log has no edge to wrap at
        console.width = WIDTH_IN_FILES
    for section in sections(summary):
        table = Table(title=section.title, title_justify="left", title_style="bold", box=SIMPLE)
        for heading in HEADINGS:
            table.add_column(heading, justify="right" if heading in RIGHT_ALIGNED else "left")
        for entry in section.lines:
            # Text, because a string would be read for markup
            table.add_row(*(Text(printable(cell)) for cell in entry.cells))
        console.print(table)
        for entry in section.lines:
            if entry.note:
                console.print(Text(f"  {entry.cells[0]}: {printable(entry.note)}", style="dim"))
        if section.left_out:
            console.print(f"  ... and {section.left_out} more rows: see the page")
    if summary.scaling:
        table = Table(title=SCALING_TITLE, title_justify="left", title_style="bold", box=SIMPLE)
        for heading in SCALING_HEADINGS:
            table.add_column(heading)
        for cells in scaling_lines(summary):
            table.add_row(*(Text(printable(cell)) for cell in cells))
        console.print(table)
    for finding in summary.findings:
        refs = ", ".join(finding.refs)
        console.print(Text(f"- {printable(finding.text)} ({refs})"))
    if summary.unfinished:
        console.print(f"not shown: {_unfinished(summary)}")


def _promised_then_others(rows: Sequence[Row]) -> Iterator[Line]:
    shown = set()
    for promised in facts("rows"):
        fitting = [row for row in rows if _fits(row, promised) and row.ref not in shown]
        for row in fitting:
            shown.add(row.ref)
            yield line(row, promised["label"] if row is fitting[0] else row.label)
        if not fitting:
            yield Line(("", promised["label"], *[TBD] * 6, "0"))
    for row in rows:
        if row.ref not in shown:
            yield line(row, row.label)


def missing(summary: Summary) -> list[str]:
    """The promised rows for which there is no standard run yet."""
    rows = [row for row in summary.rows if row.category == "standard"]
    return [
        promised["label"]
        for promised in facts("rows")
        if not any(_fits(row, promised) for row in rows)
    ]


def _fits(row: Row, promised: dict[str, list[str]]) -> bool:
    configuration = row.group.configuration
    return any(fnmatchcase(configuration.platform, p) for p in promised["platforms"]) and any(
        fnmatchcase(configuration.engine, engine) for engine in promised["engines"]
    )


def _markdown_table(section: Section) -> str:
    rules = ("---:" if heading in RIGHT_ALIGNED else "---" for heading in HEADINGS)
    lines = [f"| {' | '.join(HEADINGS)} |", f"|{'|'.join(rules)}|"]
    for entry in section.lines:
        ref, *others = entry.cells
        anchor = f'<a id="row-{ref}"></a>{ref}' if ref else ""
        lines.append(f"| {' | '.join([anchor, *map(escape, others)])} |")
    text = "\n".join(lines)
    if section.left_out:
        text += f"\n\n... and {section.left_out} more rows on the page."
    return text


def _link(ref: str) -> str:
    return f"[{ref}](#row-{ref})"


def _legend(summary: Summary) -> str:
    said = (
        "Times are medians over n runs (seeds) ± standard deviation, accuracies means, after 50"
        " epochs unless a row says otherwise. A row passes the accuracy gate when its accuracy is"
        " equivalent to the reference's within 0.3 points. Dollars are conversions of the unit in"
        ' which a platform charges; estimates say "about" or "at most".'
    )
    if summary.unfinished:
        said += f" Not shown: {_unfinished(summary)}."
    return said


def _unfinished(summary: Summary) -> str:
    return ", ".join(f"{count} {status}" for status, count in sorted(summary.unfinished.items()))
