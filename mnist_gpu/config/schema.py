"""The configuration's types, and what each value may be."""

from dataclasses import dataclass, field
from typing import Any

PRECISIONS = ("float32", "tf32", "bf16-mixed", "16-mixed", "float64")
KINDS = ("local", "cloud", "hpc")
ACCELERATORS = ("auto", "cpu", "cuda", "mps")
SCALINGS = ("strong", "weak")
MAX_EPOCHS = 100_000
MAX_BATCH_SIZE = 60_000
MAX_TRACED_STEPS = 1000
MAX_DEVICES = 4096
MAX_ENSEMBLE = 512


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
    num_nodes: int = 1
    scaling: str = "strong"
    ensemble: int = 1
    steps_per_execution: Any = "auto"
    checkpoint: int = 1
    resume: str | None = None
    profiler: int = 0
    force: bool = False


@dataclass(frozen=True)
class Settings:
    """A checked configuration, as plain Python values.

    `steps_per_execution` is 0 for the engine's own choice and -1 for a whole epoch. `devices` are
    those of each of `num_nodes` machines. `batch_size` is as given: see `global_batch_size`.
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
    num_nodes: int = 1
    scaling: str = "strong"
    ensemble: int = 1
    choices: dict[str, str] = field(default_factory=dict)

    @property
    def world(self) -> int:
        """How many devices train together, on all machines."""
        return self.devices * self.num_nodes

    @property
    def global_batch_size(self) -> int:
        """Images in an optimizer step; with `scaling=weak` every device has a batch of its own."""
        return self.batch_size * (self.world if self.scaling == "weak" else 1)
