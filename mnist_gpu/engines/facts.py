"""What an engine knows of itself once it is built."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class EngineFacts:
    """What the record says of the engine that ran."""

    framework: str
    framework_version: str
    backend: str
    precision: str
    compile: str
    steps_per_execution: int
    accelerator: str
    accelerator_name: str
    accelerator_count: int = 1
    deterministic: bool = True
    tuning: dict[str, Any] = field(default_factory=dict)
