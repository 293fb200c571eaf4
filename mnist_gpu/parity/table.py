"""The comparison on screen, or as Markdown for docs/parity.md."""

from collections.abc import Sequence

from mnist_gpu.parity.pairs import Row

COLUMNS = ("model", "engine or fault", "steps", "loss", "weights", "moments", "verdict")


def markdown(rows: Sequence[Row]) -> str:
    """The largest relative differences of every pair."""
    lines = (COLUMNS, ["---"] * len(COLUMNS), *(_cells(row) for row in rows))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def show(rows: Sequence[Row]) -> None:
    """Print the same."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*COLUMNS, title="largest relative difference from the plain reference, float64")
    for row in rows:
        table.add_row(*_cells(row))
    Console(width=None).print(table)


def _cells(row: Row) -> list[str]:
    if row.apart_from is None:
        verdict = f"within {row.bound:.0e}"
    else:
        verdict = f"apart by step {row.apart_from}"
    if not row.as_it_should_be:
        verdict += ": WRONG"
    numbers = [f"{value:.1e}" for value in (row.loss, row.weights, row.moments)]
    return [row.model, row.name, str(row.steps), *numbers, verdict]
