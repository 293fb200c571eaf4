"""The files of a report; the Parquet one needs the `report` extra."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from mnist_gpu.records.store import write_whole
from mnist_gpu.report.export import flat_runs, write_csv, write_parquet
from mnist_gpu.report.page import page
from mnist_gpu.report.summary import Summary

INSTALL = "pip install 'mnist-gpu[report]'"


def write_files(summary: Summary, folder: Path) -> Iterator[str]:
    """Write the page and the tables of all runs; yield a line about each.

    Raises:
        UserError: the folder cannot be written to.
    """
    runs = flat_runs(summary)
    write_csv(runs, folder / "runs.csv")
    yield f"wrote {folder / 'runs.csv'}"
    if find_spec("pyarrow") is not None:
        write_parquet(runs, folder / "runs.parquet")
        yield f"wrote {folder / 'runs.parquet'}"
    else:
        yield f"no runs.parquet: it needs pyarrow ({INSTALL})"
    write_whole(folder / "index.html", page(summary).encode())
    yield f"wrote {folder / 'index.html'}"
