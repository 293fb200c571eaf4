"""The results as tables for people: in the terminal and in Markdown."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import groupby
from typing import TYPE_CHECKING, Any

from mnist_gpu import output
from mnist_gpu.measure import signals
from mnist_gpu.numbers import efficiency
from mnist_gpu.records.facts import facts
from mnist_gpu.records.rules.claims import known_platforms
from mnist_gpu.records.store import printable
from mnist_gpu.report import comparison
from mnist_gpu.report.groups import CATEGORIES
from mnist_gpu.report.rows import Row
from mnist_gpu.report.summary import Scaling, Summary

if TYPE_CHECKING:
    from rich.console import RenderableType

MOST_ROWS = 60
MOST_NOTES = 4
TBD = "TBD"
BENEATH = "↳ "
WIDTH_IN_FILES = 240
RIGHT_ALIGNED = ("Training time", "Whole run", "Test accuracy", "Cost of a run", "n", "Efficiency")


COLUMNS: dict[str, Callable[[Row], str]] = {
    "Row": lambda row: row.ref,
    "Platform": lambda row: row.label,
    "Trained by": lambda row: row.trained_by,
    "On": lambda row: row.machine,
    "Training time": lambda row: str(row.train_s),
    "Whole run": lambda row: str(row.total_s),
    "Test accuracy": lambda row: f"{row.accuracy}" + f" ({row.gate.outcome})" * row.gated,
    "Cost of a run": lambda row: row.cost.full_text(),
    "n": lambda row: str(row.n),
    "Version, commit, date": lambda row: row.origin,
}
HEADINGS = tuple(COLUMNS)
SCALING_TITLE = "Efficiency against number of devices: time on 1 / (N x time on N)"
SCALING: dict[str, Callable[[Scaling], str]] = {
    "Rows": lambda entry: f"{entry.row.ref} against {entry.base.ref}",
    "Platform": lambda entry: f"{entry.row.label}, {entry.row.trained_by}",
    "Devices": lambda entry: f"{entry.devices}{', 64 images on each' if entry.weak else ''}",
    "Training time": lambda entry: str(entry.row.train_s),
    "Efficiency": lambda entry: efficiency(entry.efficiency.value, entry.efficiency.interval),
}
PUBLISHED: dict[str, Callable[[Any], str]] = {
    "Hardware": lambda entry: entry.hardware,
    "Seconds an epoch": lambda entry: entry.time,
    "Framework": lambda entry: entry.framework or "not said",
    "Network": lambda entry: (
        "this project's cnn" if entry.network == "same" else entry.network or "not said"
    ),
    "Batch": lambda entry: str(entry.batch_size or "not said"),
    "Differs in": lambda entry: entry.differs_in,
    "Source": lambda entry: entry.source.removeprefix("https://"),
    "Published": lambda entry: entry.published or "not said",
}


@dataclass(frozen=True)
class Line:
    """One line of a table; `cells` in the order of its headings."""

    cells: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True)
class Section:
    """One category of runs, or the efficiencies; the page has what is left out."""

    title: str
    lines: list[Line]
    left_out: int = 0
    headings: Sequence[str] = HEADINGS

    @property
    def notes(self) -> Iterator[tuple[str, str]]:
        """(row, note) of the lines that have one."""
        return ((line.cells[0], line.note) for line in self.lines if line.note)


def sections(summary: Summary) -> list[Section]:
    """The tables in order: the standard first, its promised rows on top, TBD where none is."""
    found = []
    for category, title in CATEGORIES.items():
        rows = [row for row in summary.rows if row.category == category]
        entries = list(_entries(rows, facts("rows") if category == "standard" else ()))
        lines = [line(row, label) for row, label in entries[:MOST_ROWS]]
        found.append(Section(title, lines, len(entries) - len(lines)))
    lines = [Line(_cells(SCALING, entry)) for entry in summary.scaling[:MOST_ROWS]]
    left_out = len(summary.scaling) - len(lines)
    found.append(Section(SCALING_TITLE, lines, left_out, tuple(SCALING)))
    return [section for section in found if section.lines]


def line(row: Row | None, label: str) -> Line:
    """The cells of a row: medians and standard deviations over its runs; TBD where none is."""
    if row is None:
        return Line(("", label, *[TBD] * 6, "0", ""))
    notes = [
        *row.key.deviations,
        *(f"doubted: {doubt}" for doubt in row.doubts[:MOST_NOTES]),
        *row.notes[:MOST_NOTES],
        *([f"accuracy {row.gate.outcome}: {row.gate.basis}"] if row.gate.failed else []),
    ]
    cells = _cells({**COLUMNS, "Platform": lambda _: label}, row)
    return Line(cells, "; ".join(notes))


def missing(summary: Summary) -> list[str]:
    """The promised rows for which there is no standard run yet."""
    rows = [row for row in summary.rows if row.category == "standard"]
    return [
        promised["label"]
        for promised in facts("rows")
        if not any(_fits(row, promised) for row in rows)
    ]


def markdown(summary: Summary) -> str:
    """What stands between the README's markers, without them; ends with a newline."""
    parts = ["*Made from the records in `results/` by `python -m mnist_gpu.report`; not edited.*"]
    for section in sections(summary):
        cells = [list(map(escape, entry.cells)) for entry in section.lines]
        if section.headings is HEADINGS:
            # where the findings' links lead
            cells = [[f'<a id="row-{ref}"></a>{ref}' * bool(ref), *more] for ref, *more in cells]
        parts += [f"**{section.title}**", _markdown_table(section.headings, cells)]
        if section.left_out:
            parts.append(f"... and {section.left_out} more rows on the page.")
        if notes := [f"- {ref}: {escape(note)}" for ref, note in section.notes]:
            parts.append("\n".join(notes))
    parts += [legend(summary), "**Key findings**"]
    parts.append("\n".join(f"- {paragraph}" for paragraph in _paragraphs(summary)))
    return "\n\n".join(parts) + "\n"


def published_markdown(summary: Summary) -> str:
    """The table of what others report, folded, ends with a newline; `TBD` where there is none."""
    published = summary.published
    if not published.entries:
        return f"{TBD}\n"
    lines = [map(escape, _cells(PUBLISHED, entry)) for entry in published.entries]
    intro = (
        f"<details><summary>Published elsewhere: what {len(lines)} others report, none of it run by"
        f" this project nor comparable with its rows (read {escape(published.as_of)})</summary>"
    )
    return f"{intro}\n\n{_markdown_table(PUBLISHED, lines)}\n\n</details>\n"


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
    text = text.replace("://", "&#58;//").replace("$", "&#36;")
    # GitHub makes links of bare addresses too, and mathematics of what stands between dollars
    return re.sub(r"(?i)(www)\.", r"\1&#46;", text)


def print_console(summary: Summary) -> None:
    """Print the tables and findings to the terminal."""
    from rich.measure import Measurement
    from rich.text import Text

    console = output.console()
    if not console.is_terminal:
        # a file or a log has no edge to wrap at
        console.width = WIDTH_IN_FILES
    # a name that is cut can be neither read nor compared by
    anywhere = console.options.update(width=10 * WIDTH_IN_FILES)
    for section in sections(summary):
        table = _rich_table(section)
        narrow = Measurement.get(console, anywhere, table).minimum > console.width
        console.print(Text("\n".join(_as_list(section))) if narrow else table)
        for ref, note in section.notes:
            console.print(Text(f"  {ref}: {printable(note)}", style="dim"))
        if section.left_out:
            console.print(f"  ... and {section.left_out} more rows: see the page")
    for topic, found in groupby(summary.findings, key=lambda finding: finding.topic):
        console.print(Text(topic, style="bold"))
        for finding in found:
            refs = f" ({', '.join(finding.refs)})" if finding.refs else ""
            console.print(Text(f"- {printable(finding.text)}{refs}"))
    if summary.unfinished:
        console.print(f"not shown: {_unfinished(summary)}")


def _cells(columns: dict[str, Callable[[Any], str]], entry: object) -> tuple[str, ...]:
    return tuple(of(entry) for of in columns.values())


def _entries(
    rows: Sequence[Row], promises: Sequence[dict[str, Any]]
) -> Iterator[tuple[Row | None, str]]:
    """Stock rows in front, what is tuned or open beneath its stock row; with their labels."""
    stock_of = comparison.stock_of(rows)
    beneath: dict[str, list[Row]] = {}
    for row in rows:
        if row.ref in stock_of:
            beneath.setdefault(stock_of[row.ref].ref, []).append(row)
    for stock, label in _in_order([r for r in rows if r.key.division == "stock"], promises):
        yield stock, label
        if stock:
            yield from ((row, BENEATH + label) for row in beneath.get(stock.ref, ()))
    # tuned rows for which nobody has run stock
    alone = [r for r in rows if r.key.division != "stock" and r.ref not in stock_of]
    yield from ((row, row.label) for row in alone)


def _in_order(
    rows: Sequence[Row], promises: Sequence[dict[str, Any]]
) -> Iterator[tuple[Row | None, str]]:
    """Rows and their labels; None for a promised row that is not there yet."""
    left = list(rows)
    for promised in promises:
        # each row stands in one place, whatever promises it fits
        fitting = [row for row in left if _fits(row, promised)]
        left = [row for row in left if row not in fitting]
        # what is not of full precision stands behind, under its platform's own name
        fitting.sort(key=lambda row: row.key.precision != "float32")
        yield fitting[0] if fitting else None, promised["label"]
        yield from ((row, row.label) for row in fitting[1:])
    yield from ((row, row.label) for row in left)


def _fits(row: Row, promised: dict[str, Any]) -> bool:
    """Whether a row is what was promised; a stand-in on one's own machine is not, nor is what goes
    by such a name alone."""
    platform = row.newest.platform
    there = platform.name in known_platforms() or signals.matches(
        promised["detect"], signals.from_signals(platform.signals), None
    )
    return (
        there
        and not row.key.rehearsal
        and any(fnmatchcase(row.key.platform, pattern) for pattern in promised["platforms"])
        and any(fnmatchcase(row.key.engine, engine) for engine in promised["engines"])
    )


def _markdown_table(headings: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    """Lines of cells that are Markdown already."""
    rules = ("---:" if heading in RIGHT_ALIGNED else "---" for heading in headings)
    made = [f"| {' | '.join(headings)} |", f"|{'|'.join(rules)}|"]
    return "\n".join([*made, *(f"| {' | '.join(cells)} |" for cells in lines)])


def _rich_table(section: Section) -> "RenderableType":
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    table = Table(title=section.title, title_justify="left", title_style="bold", box=SIMPLE)
    for heading in section.headings:
        # digits beneath digits; a name is copied from here to compare by
        table.add_column(
            heading,
            justify="right" if heading in RIGHT_ALIGNED else "left",
            no_wrap=heading == section.headings[0],
        )
    for entry in section.lines:
        # Text, because a string would be read for markup
        table.add_row(*(Text(printable(cell)) for cell in entry.cells))
    return table


def _as_list(section: Section) -> Iterator[str]:
    """A table's lines beneath each other, for a narrow terminal."""
    yield section.title
    for entry in section.lines:
        cells = list(map(printable, entry.cells))
        # a promised row that nobody has run
        yield f"\n{cells[0]}" if cells[0] else f"\n{cells[1]}: {TBD}"
        shown = zip(section.headings[1:], cells[1:], strict=True) if cells[0] else ()
        yield from (f"  {heading}: {cell}" for heading, cell in shown)
    yield ""


def _paragraphs(summary: Summary) -> Iterator[str]:
    for topic, findings in groupby(summary.findings, key=lambda finding: finding.topic):
        said = []
        for finding in findings:
            links = ", ".join(f"[{ref}](#row-{ref})" for ref in finding.refs)
            said.append(escape(finding.text) + (f" ({links})" if links else ""))
        yield f"**{topic}.** {' '.join(said)}"


def _unfinished(summary: Summary) -> str:
    return ", ".join(f"{count} {status}" for status, count in sorted(summary.unfinished.items()))
