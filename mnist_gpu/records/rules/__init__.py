"""Which records are accepted, and why the others are not: `records/data/rules.yaml` in code."""

from mnist_gpu.records.rules import (  # noqa: F401  for their rules
    claims,
    engine,
    outcome,
    plausible,
    time,
)
from mnist_gpu.records.rules.files import Fault, Verdict, check_files
from mnist_gpu.records.rules.registry import check_record

__all__ = ["Fault", "Verdict", "check_files", "check_record"]
