"""The configuration's types, and what each value may be."""

from dataclasses import dataclass, field
from typing import Any

PRECISIONS = ("float32", "tf32", "bf16-mixed", "16-mixed", "float64")
KINDS = ("local", "cloud", "hpc")
ACCELERATORS = ("auto", "cpu", "cuda", "mps")
MAX_EPOCHS = 100_000
MAX_BATCH_SIZE = 60_000
MAX_TRACED_STEPS = 1000


@dataclass
class TrainConfig:
    """Top level of `conf/train.yaml`; the groups keep the shape of their own files."""

    platform: Any = None
    engine: Any = None
    model: Any = None
    data: Any = None
    logger: Any = None
    launcher: Any = None
    experiment: Any = None
    seed: int = 0
    epochs: int = 50
    batch_size: int = 64
    learning_rate: float = 1e-3
    precision: str = "float32"
    devices: int = 1
    steps_per_execution: Any = "auto"
    checkpoint: int = 1
    resume: str | None = None
    profiler: int = 0
    force: bool = False


@dataclass(frozen=True)
class Settings:
    """A checked configuration, as plain Python values.

    `steps_per_execution` is 0 for the engine's own choice and -1 for a whole epoch.
    """

    platform: dict[str, Any]
    engine: dict[str, Any]
    model: dict[str, Any]
    data: dict[str, Any]
    logger: dict[str, Any]
    seed: int
    epochs: int
    batch_size: int
    learning_rate: float
    precision: str
    devices: int
    steps_per_execution: int
    checkpoint: int
    resume: str | None
    force: bool
    profiler: int = 0
    choices: dict[str, str] = field(default_factory=dict)
