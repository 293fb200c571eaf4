"""What a run has printed, put between two markers of a document."""

from pathlib import Path

from mnist_gpu.errors import UserError
from mnist_gpu.records.store import printable, write_whole


def replaced(readme: Path, block: str, name: str = "results") -> tuple[str, str]:
    """The document as it is, and as it should be with `block` between the markers called `name`.

    Raises:
        UserError: the file cannot be read, or does not have either marker once, in order.
    """
    where = printable(str(readme))
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    try:
        text = readme.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise UserError(f"{where}: cannot be read ({fault})") from None
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise UserError(f"{where}: needs the lines {begin} and {end}, each once and in this order")
    before, rest = text.split(begin)
    after = rest.split(end)[1]
    return text, f"{before}{begin}\n{block}{end}{after}"


def has_markers(document: Path, name: str) -> bool:
    """Whether a document is there and has a marker called `name`."""
    return document.is_file() and f"<!-- {name}:begin -->" in document.read_text(
        encoding="utf-8", errors="replace"
    )


def update(readme: Path, block: str, name: str = "results") -> bool:
    """Write the document if it changes; say whether it did."""
    old, new = replaced(readme, block, name)
    if old != new:
        write_whole(readme, new.encode())
    return old != new
