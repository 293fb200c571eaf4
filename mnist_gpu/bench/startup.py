"""From the command to the first training step: the phases of real runs."""

import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from mnist_gpu.errors import UserError
from mnist_gpu.records.store import read_record

PHASES = ("startup_s", "data_s", "build_s", "warmup_s")
MEANING = {
    "startup_s": "Python, imports, composing and checking the configuration",
    "data_s": "reading and verifying MNIST",
    "build_s": "the Trainer, the network, the data in place",
    "warmup_s": "the first steps on throw-away copies, compilation",
}


def measure(engine: str, repeats: int) -> dict[str, float]:
    """Median seconds of each phase before training, over `repeats` runs of one epoch of cnn.

    Raises:
        UserError: a run failed.
    """
    found = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "mnist_gpu.train", "platform=cpu", "data=auto"]
            done = subprocess.run(
                [*command, f"engine={engine}", "epochs=1", "logger=none"],
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
            )
            records = list(Path(folder).glob("outputs/*/*/record.json"))
            if done.returncode or not records:
                raise UserError(f"engine={engine}: {done.stderr.strip()[-200:]}")
            found.append(read_record(records[0]).timing.model_dump())
    return {phase: median(timing[phase] for timing in found) for phase in PHASES}


def markdown(engines: list[str], repeats: int) -> str:
    """One column an engine, one row a phase."""
    columns = {engine: measure(engine, repeats) for engine in engines}
    lines = [
        f"| phase | {' | '.join(columns)} | what |",
        "|---" * (2 + len(columns)) + "|",
    ]
    for phase in PHASES:
        cells = " | ".join(f"{column[phase]:.2f}" for column in columns.values())
        lines.append(f"| `{phase}` | {cells} | {MEANING[phase]} |")
    totals = " | ".join(f"{sum(column.values()):.2f}" for column in columns.values())
    lines.append(f"| to the first step | {totals} | |")
    return "\n".join(lines)
