"""The table of a benchmark: medians, ratios and the share of the machine's peak."""

from typing import Any

from mnist_gpu.bench.measure import Row
from mnist_gpu.bench.workload import BATCH
from mnist_gpu.config.compose import check, compose_config
from mnist_gpu.measure.hardware import cpu_model
from mnist_gpu.protocol.network import Network

REFERENCES = ("classic", "eager", "keras.fit")
FAST = "program"


def markdown(rows: list[Row], descriptions: dict[str, str]) -> str:
    """One Markdown table; a ratio above 1 says how many times as fast as that reference."""
    ablation = not any(row.way in REFERENCES for row in rows)
    references = (FAST,) if ablation else REFERENCES
    heads = "times the first" if ablation else "times (a) | times (b) | times (c)"
    lines = [
        f"On {machine()}; milliseconds per optimizer step of batch {BATCH}, medians of"
        f" {len(rows[0].values)} interleaved repeats (least to most), from weights trained for an"
        " epoch.",
        "",
        f"| model | precision | way | ms per step | {heads} | of peak |",
        "|---" * (5 + len(references)) + "|",
    ]
    for row in rows:
        if row.way == "peak":
            continue
        spread = f"{min(row.values) * 1e3:.2f} to {max(row.values) * 1e3:.2f}"
        ratios = [_ratio(rows, row, reference) for reference in references]
        lines.append(
            f"| {row.model} | {row.precision} | {descriptions[row.way]} |"
            f" {row.median * 1e3:.2f} ({spread}) | {' | '.join(ratios)} | {_share(rows, row)} |"
        )
    return "\n".join(lines)


def as_json(rows: list[Row]) -> dict[str, Any]:
    """Every repeat, for whoever wants to work it out again."""
    return {
        "machine": machine(),
        "rows": [
            {
                "model": row.model,
                "precision": row.precision,
                "way": row.way,
                "unit": "FLOP/s" if row.way == "peak" else "s per step",
                "values": row.values,
            }
            for row in rows
        ],
    }


def machine() -> str:
    """Processor, threads and PyTorch's version."""
    from importlib.metadata import version

    from mnist_gpu.measure import cpus

    return f"{cpus.threads()} threads of {cpu_model()}, torch {version('torch')}"


def _ratio(rows: list[Row], row: Row, reference: str) -> str:
    for other in rows:
        if (other.model, other.way) == (row.model, reference):
            return "" if other is row else f"{other.median / row.median:.2f}"
    return ""


def _share(rows: list[Row], row: Row) -> str:
    for other in rows:
        if (other.model, other.precision, other.way) == (row.model, row.precision, "peak"):
            layers = check(compose_config([f"model={row.model}"])).model.layers
            flops = Network.from_config(row.model, layers).flops_per_sample * BATCH
            return f"{flops / row.median / other.median:.0%}"
    return ""
