"""The files of a report; the Parquet one needs the `report` extra."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from mnist_gpu.errors import UserError
from mnist_gpu.files import trouble, write_own
from mnist_gpu.report.export import as_csv, as_parquet, flat_runs
from mnist_gpu.report.page import page
from mnist_gpu.report.summary import Summary

INSTALL = "pip install 'mnist-gpu[report]'"


def write_files(summary: Summary, folder: Path) -> Iterator[str]:
    """Write the page and the tables of all runs; yield a line about each.

    Raises:
        UserError: the folder cannot be written to, or holds files of those names that are not from
            an earlier report, or were changed since; then nothing is written.
    """
    runs = flat_runs(summary)
    contents = {"runs.csv": as_csv(runs)}
    lacking = []
    if find_spec("pyarrow") is not None:
        contents["runs.parquet"] = as_parquet(runs)
    else:
        lacking.append(f"no runs.parquet: it needs pyarrow ({INSTALL})")
    contents["index.html"] = page(summary).encode()
    try:
        write_own(folder, contents)
    except OSError as exc:
        raise UserError(trouble(exc, folder)) from None
    yield from [f"wrote {folder / name}" for name in contents]
    yield from lacking
