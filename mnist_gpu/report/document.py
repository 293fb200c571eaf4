"""What a run has printed, put between two markers of a document."""

from pathlib import Path

from mnist_gpu.errors import UserError
from mnist_gpu.files import trouble, write_whole
from mnist_gpu.records.store import printable


def replaced(readme: Path, block: str, name: str = "results") -> tuple[str, str]:
    """The document as it is, and as it should be with `block` between the markers called `name`.

    Raises:
        UserError: the file cannot be read, or does not have either marker once, in order.
    """
    where = printable(str(readme))
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    try:
        text = readme.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise UserError(f"{where}: cannot be read ({fault})") from None
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise UserError(f"{where}: needs the lines {begin} and {end}, each once and in this order")
    before, rest = text.split(begin)
    after = rest.split(end)[1]
    block = f"\n{block}"
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
