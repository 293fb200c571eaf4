"""What was worked out from records, or printed by a run, between two markers of a document."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_gpu.errors import UserError
from mnist_gpu.files import trouble, write_whole
from mnist_gpu.numbers import counted
from mnist_gpu.records.store import printable

if TYPE_CHECKING:
    from mnist_gpu.report.summary import Summary

README = "README.md"
# (document beside the README, marker)
BLOCKS = (
    *((README, name) for name in ("answer", "results", "published")),
    ("docs/reliability.md", "checkpoints"),
)


def replaced(readme: Path, block: str, name: str = "results") -> tuple[str, str]:
    """The document as it is, and as it should be with `block` between the markers called `name`.

    Raises:
        UserError: the file cannot be read, or does not have either marker once, in order.
    """
    where = printable(str(readme))
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    try:
        text = readme.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise UserError(f"{where}: cannot be read ({exc})") from None
    # a marker within what is replaced would be lost, and with it what follows
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise UserError(f"{where}: needs the lines {begin} and {end}, each once and in this order")
    before, rest = text.split(begin)
    after = rest.split(end)[1]
    block = f"\n{block}"
    # a checkout on Windows has such lines, and keeps them
    if rest.startswith("\r\n"):
        block = block.replace("\n", "\r\n")
    return text, f"{before}{begin}{block}{end}{after}"


def has_markers(document: Path, name: str) -> bool:
    """Whether a document is there and has a marker called `name`."""
    return document.is_file() and f"<!-- {name}:begin -->" in document.read_text(
        encoding="utf-8", errors="replace"
    )


def update(readme: Path, block: str, name: str = "results") -> bool:
    """Write the document if it changes; say whether it did.

    A link stays one, and the file keeps its mode.

    Raises:
        UserError: as `replaced`, or the file cannot be written.
    """
    old, new = replaced(readme, block, name)
    if old == new:
        return False
    real = readme.resolve()
    try:
        mode = real.stat().st_mode
        write_whole(real, new.encode())
        real.chmod(mode)
    except OSError as exc:
        raise UserError(trouble(exc, readme)) from None
    return True


def blocks(summary: "Summary", readme: Path) -> Iterator[tuple[Path, str, str]]:
    """(document, what should stand in it, marker) for the README and the documents beside it."""
    from mnist_gpu.report.answer import answer
    from mnist_gpu.report.published import NOTHING_PUBLISHED
    from mnist_gpu.report.table import markdown, published_markdown

    makers = (answer, markdown, published_markdown, _checkpoint_share)
    for (document, marker), make in zip(BLOCKS, makers, strict=True):
        path = readme if document == README else readme.parent / document
        # whoever reports a part of the results need not have what others published
        if marker == "published" and summary.published is NOTHING_PUBLISHED:
            continue
        # somebody else's README holds the results and need not hold the rest
        if marker == "results" or has_markers(path, marker):
            yield path, make(summary), marker


def _checkpoint_share(summary: "Summary") -> str:
    """What checkpoints cost the standard stock runs of Lightning, as a share of training."""
    stock = ("standard", "lightning", "stock")
    rows = [r for r in summary.rows if (r.category, r.key.engine, r.key.division) == stock]
    timings = [run.record.timing for row in rows for run in row.runs]
    shares = sorted(t.checkpoint_s / t.train_s for t in timings if t.train_s)
    if not shares:
        return "Checkpoints of the standard run: TBD.\n"
    return (
        f"Checkpoints of the standard run: `checkpoint_s` is {shares[0]:.2%} to {shares[-1]:.2%} of"
        f" `train_s` in the {counted(len(shares), 'stock record')} of `engine=lightning`.\n"
    )
