"""The README's results, between two markers."""

from pathlib import Path

from mnist_gpu.errors import UserError
from mnist_gpu.results.store import printable, write_whole

BEGIN = "<!-- results:begin -->"
END = "<!-- results:end -->"


def replaced(readme: Path, block: str) -> tuple[str, str]:
    """The README as it is, and as it should be with `block` between its markers.

    Raises:
        UserError: the file cannot be read, or does not have either marker once, in order.
    """
    where = printable(str(readme))
    try:
        text = readme.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise UserError(f"{where}: cannot be read ({fault})") from None
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise UserError(f"{where}: needs the lines {BEGIN} and {END}, each once and in this order")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    return text, f"{before}{BEGIN}\n{block}{END}{after}"


def update(readme: Path, block: str) -> bool:
    """Write the README if it changes; say whether it did."""
    old, new = replaced(readme, block)
    if old != new:
        write_whole(readme, new.encode())
    return old != new
