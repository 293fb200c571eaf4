"""Which records are accepted, and why the others are not: `results/data/rules.yaml` in code."""

from mnist_gpu.results.checks.files import Fault, Verdict, check_files
from mnist_gpu.results.checks.registry import check_record

__all__ = ["Fault", "Verdict", "check_files", "check_record"]
