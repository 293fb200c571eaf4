"""What a check has to say."""

from dataclasses import dataclass
from typing import Any

from mnist_gpu.paths import packaged


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report."""

    check: str  # what was found, as `measure/data/doctor.yaml` calls it
    # ok; warn: a run works, but slower or less surely than it could; fail: a run does not work, or
    # its result would be wrong or mean something else
    status: str
    name: str  # what was looked at, in a word or three
    says: str
    costs: str = ""  # what it does to a run; empty where all is well
    mend: str = ""


def found(check: str, status: str | None = None, **values: Any) -> Finding:
    """A finding in words.

    Args:
        check: its key in `measure/data/doctor.yaml`.
        status: another than stands there.
        values: what the sentences name.
    """
    entry = {**packaged("measure/data/doctor")[check], **({"status": status} if status else {})}
    return Finding(check=check, **{key: text.format(**values) for key, text in entry.items()})


def count(number: int, word: str) -> str:
    """Such as `1 core`, `2 cores`."""
    return f"{number} {word}{'' if number == 1 else 's'}"
