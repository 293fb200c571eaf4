"""The results as tables for people: in the terminal and in Markdown."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import groupby
from typing import TYPE_CHECKING, Any

from mnist_gpu.records.facts import facts
from mnist_gpu.records.store import printable
from mnist_gpu.report.gate import GATED
from mnist_gpu.report.groups import CATEGORIES
from mnist_gpu.report.numbers import efficiency, percent, seconds
from mnist_gpu.report.rows import Row
from mnist_gpu.report.summary import Summary

if TYPE_CHECKING:
    from rich.table import Table

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
    "Version, commit, date",
)
RIGHT_ALIGNED = ("Training time", "Whole run", "Test accuracy", "Cost of a run", "n", "Efficiency")
SCALING_TITLE = "Efficiency against number of devices: time on 1 / (N x time on N)"
SCALING_HEADINGS = ("Rows", "Platform", "Devices", "Training time", "Efficiency")
PUBLISHED_TITLE = "Published elsewhere"
PUBLISHED_HEADINGS = (
    "Hardware",
    "Seconds an epoch",
    "Framework",
    "Network",
    "Batch",
    "Differs in",
    "Source",
    "Published",
)
MOST_ROWS = 60
MOST_NOTES = 4
TBD = "TBD"
BENEATH = "↳ "
WIDTH_IN_FILES = 240


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
        lines = list(_lines(rows, facts("rows") if category == "standard" else ()))
        if lines:
            found.append(Section(title, lines[:MOST_ROWS], max(0, len(lines) - MOST_ROWS)))
    return found


def line(row: Row, label: str) -> Line:
    """The cells of a row: medians and standard deviations over its runs."""
    accuracy = percent(row.accuracy.median, row.accuracy.sd)
    cost = row.cost.text()
    if row.cost.usd_text():
        cost += f" ({row.cost.usd_text()})"
    gated = row.category in GATED
    notes = [
        *row.key.deviations,
        *(f"doubted: {doubt}" for doubt in row.doubts[:MOST_NOTES]),
        *row.notes[:MOST_NOTES],
        *([f"accuracy {row.gate.outcome}: {row.gate.basis}"] if row.gate.failed else []),
    ]
    cells = (
        row.ref,
        label,
        row.trained_by,
        row.machine,
        row.training_time,
        seconds(row.total_s.median, row.total_s.sd),
        f"{accuracy} ({row.gate.outcome})" if gated else accuracy,
        cost,
        str(row.n),
        row.origin,
    )
    return Line(cells, "; ".join(notes))


def missing(summary: Summary) -> list[str]:
    """The promised rows for which there is no standard run yet."""
    rows = [row for row in summary.rows if row.category == "standard"]
    return [
        promised["label"]
        for promised in facts("rows")
        if not any(_fits(row, promised) for row in rows)
    ]


def scaling_lines(summary: Summary) -> list[tuple[str, ...]]:
    """The cells of `SCALING_HEADINGS`, one line for each row on several devices."""
    return [
        (
            f"{entry.row.ref} against {entry.base.ref}",
            f"{entry.row.label}, {entry.row.trained_by}",
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
        parts.append(_markdown_section(section))
        notes = [entry for entry in section.lines if entry.note]
        if notes:
            parts.append("\n".join(f"- {entry.cells[0]}: {escape(entry.note)}" for entry in notes))
    if summary.scaling:
        parts.append(f"**{SCALING_TITLE}**")
        parts.append(_markdown_table(SCALING_HEADINGS, scaling_lines(summary)))
    parts.append(legend(summary))
    parts.append("**Key findings**")
    parts.append("\n".join(f"- {paragraph}" for paragraph in _paragraphs(summary)))
    return "\n\n".join(parts) + "\n"


def published_markdown(summary: Summary) -> str:
    """The table of what others report, folded, ends with a newline; `TBD` where there is none."""
    published = summary.published
    if not published.entries:
        return f"{TBD}\n"
    lines = [
        (
            entry.hardware,
            entry.time,
            entry.framework or "not said",
            "this project's cnn" if entry.network == "same" else entry.network or "not said",
            str(entry.batch_size or "not said"),
            entry.differs_in,
            entry.source.removeprefix("https://"),
            entry.published or "not said",
        )
        for entry in published.entries
    ]
    intro = (
        f"<details><summary>{PUBLISHED_TITLE}: what {len(lines)} others report, none of it run by"
        f" this project nor comparable with its rows (read {escape(published.as_of)})</summary>"
    )
    return f"{intro}\n\n{_markdown_table(PUBLISHED_HEADINGS, lines)}\n\n</details>\n"


def legend(summary: Summary) -> str:
    """What the tables' words mean, and what they leave out."""
    said = (
        "Times and accuracies are medians over n runs (seeds) ± standard deviation, after 50 epochs"
        " unless a row says otherwise. The accuracy gate: a row passes when its accuracy is shown"
        " equivalent to the reference's within 0.3 points; with three runs or more it is else not"
        " shown equivalent, with fewer not judged. Dollars are conversions of the unit in which a"
        ' platform charges; estimates say "about" or "at most".'
    )
    return f"{said} Not shown: {_unfinished(summary)}." if summary.unfinished else said


def escape(text: str) -> str:
    """Make text of any origin plain in GitHub's Markdown."""
    text = re.sub(r"([\\`*_\[\]<>|~&])", r"\\\1", printable(text))
    return text.replace("://", "&#58;//")


def print_console(summary: Summary) -> None:
    """Print the tables and findings to the terminal."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:
        # a file or a log has no edge to wrap at
        console.width = WIDTH_IN_FILES
    for section in sections(summary):
        console.print(_rich_table(section.title, HEADINGS, (e.cells for e in section.lines)))
        for entry in section.lines:
            if entry.note:
                console.print(Text(f"  {entry.cells[0]}: {printable(entry.note)}", style="dim"))
        if section.left_out:
            console.print(f"  ... and {section.left_out} more rows: see the page")
    if summary.scaling:
        console.print(_rich_table(SCALING_TITLE, SCALING_HEADINGS, scaling_lines(summary)))
    for topic, found in groupby(summary.findings, key=lambda finding: finding.topic):
        console.print(Text(topic, style="bold"))
        for finding in found:
            refs = f" ({', '.join(finding.refs)})" if finding.refs else ""
            console.print(Text(f"- {printable(finding.text)}{refs}"))
    if summary.unfinished:
        console.print(f"not shown: {_unfinished(summary)}")


def _lines(rows: Sequence[Row], promises: Sequence[dict[str, Any]]) -> Iterator[Line]:
    """Stock rows in front, what is tuned or open beneath its own stock row."""
    beneath: dict[object, list[Row]] = {}
    for row in rows:
        if row.key.division != "stock":
            beneath.setdefault(row.key.stock, []).append(row)
    for stock, label in _in_order([r for r in rows if r.key.division == "stock"], promises):
        if stock is None:
            yield Line(("", label, *[TBD] * 6, "0", ""))
            continue
        yield line(stock, label)
        for row in beneath.pop(stock.key.stock, ()):
            yield line(row, BENEATH + label)
    for row in (row for members in beneath.values() for row in members):
        yield line(row, row.label)


def _in_order(
    rows: Sequence[Row], promises: Sequence[dict[str, Any]]
) -> Iterator[tuple[Row | None, str]]:
    """Rows and their labels; None for a promised row that is not there yet."""
    shown = set()
    for promised in promises:
        fitting = [row for row in rows if _fits(row, promised) and row.ref not in shown]
        fitting.sort(key=lambda row: row.key.precision != "float32")
        for row in fitting:
            shown.add(row.ref)
            yield row, promised["label"] if row is fitting[0] else row.label
        if not fitting:
            yield None, promised["label"]
    yield from ((row, row.label) for row in rows if row.ref not in shown)


def _fits(row: Row, promised: dict[str, list[str]]) -> bool:
    """Whether a row is what was promised; a stand-in on one's own machine is not."""
    return (
        not row.key.rehearsal
        and any(fnmatchcase(row.key.platform, pattern) for pattern in promised["platforms"])
        and any(fnmatchcase(row.key.engine, engine) for engine in promised["engines"])
    )


def _markdown_section(section: Section) -> str:
    lines = [
        (f'<a id="row-{ref}"></a>{ref}' if ref else "", *map(escape, others))
        for ref, *others in (entry.cells for entry in section.lines)
    ]
    text = _markdown_table(HEADINGS, lines, plain=False)
    if section.left_out:
        text += f"\n\n... and {section.left_out} more rows on the page."
    return text


def _markdown_table(
    headings: Sequence[str], lines: Iterable[Sequence[str]], *, plain: bool = True
) -> str:
    rules = ("---:" if heading in RIGHT_ALIGNED else "---" for heading in headings)
    made = [f"| {' | '.join(headings)} |", f"|{'|'.join(rules)}|"]
    made += [f"| {' | '.join(map(escape, cells) if plain else cells)} |" for cells in lines]
    return "\n".join(made)


def _rich_table(title: str, headings: Sequence[str], lines: Iterable[Sequence[str]]) -> "Table":
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE)
    for heading in headings:
        table.add_column(heading, justify="right" if heading in RIGHT_ALIGNED else "left")
    for cells in lines:
        # Text, because a string would be read for markup
        table.add_row(*(Text(printable(cell)) for cell in cells))
    return table


def _paragraphs(summary: Summary) -> Iterator[str]:
    for topic, findings in groupby(summary.findings, key=lambda finding: finding.topic):
        said = (
            escape(finding.text)
            + (f" ({', '.join(map(_link, finding.refs))})" if finding.refs else "")
            for finding in findings
        )
        yield f"**{topic}.** {' '.join(said)}"


def _link(ref: str) -> str:
    return f"[{ref}](#row-{ref})"


def _unfinished(summary: Summary) -> str:
    return ", ".join(f"{count} {status}" for status, count in sorted(summary.unfinished.items()))
