"""Which documents hold what is worked out from records, and between which markers."""

from collections.abc import Callable, Iterator
from pathlib import Path

from mnist_gpu.report.document import has_markers, replaced, update
from mnist_gpu.report.numbers import counted
from mnist_gpu.report.summary import Summary
from mnist_gpu.report.table import TBD, markdown, published_markdown

README = "README.md"


def checkpoint_share(summary: Summary) -> str:
    """What checkpoints cost the standard stock runs of Lightning, as a share of training."""
    timings = [
        run.record.timing
        for row in summary.rows
        if (row.category, row.key.engine, row.key.division) == ("standard", "lightning", "stock")
        for run in row.group.runs
        if run.record.timing.train_s
    ]
    if not timings:
        return f"Checkpoints of the standard run: {TBD}.\n"
    shares = sorted(timing.checkpoint_s / timing.train_s for timing in timings)
    return (
        f"Checkpoints of the standard run: `checkpoint_s` is {shares[0]:.2%} to {shares[-1]:.2%} of"
        f" `train_s` in the {counted(len(shares), 'stock record')} of `engine=lightning`.\n"
    )


# (document beside the README, marker) -> what stands there
BLOCKS: dict[tuple[str, str], Callable[[Summary], str]] = {
    (README, "results"): markdown,
    (README, "published"): published_markdown,
    ("docs/reliability.md", "checkpoints"): checkpoint_share,
}


def stale(summary: Summary, readme: Path) -> list[Path]:
    """The documents that are not what the records make of them.

    Raises:
        UserError: the README cannot be read or lacks the markers of the results.
    """
    found: dict[Path, None] = {}
    for path, marker, content in _contents(summary, readme):
        old, new = replaced(path, content, marker)
        if old != new:
            found[path] = None
    return list(found)


def renew(summary: Summary, readme: Path) -> Iterator[str]:
    """Write the documents; yield a line about each block.

    Raises:
        UserError: as `stale`, or a document cannot be written.
    """
    for path, marker, content in _contents(summary, readme):
        changed = update(path, content, marker)
        yield f"{path} {'renewed' if changed else 'was current'} ({marker})"


def _contents(summary: Summary, readme: Path) -> Iterator[tuple[Path, str, str]]:
    for (document, marker), make in BLOCKS.items():
        path = readme if document == README else readme.parent / document
        # somebody else's README holds the results and need not hold the rest
        if marker == "results" or has_markers(path, marker):
            yield path, marker, make(summary)
