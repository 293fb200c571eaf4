"""What a check has to say."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report.

    Attributes:
        check: what was found, as `measure/data/doctor.yaml` calls it.
        status: `ok`; `warn`: a run works, but slower or less surely than it could; `fail`: a run
            does not work, or its result would be wrong or mean something else.
        name: what was looked at, in a word or three.
        says: what was seen.
        costs: what it does to a run; empty where all is well.
        mend: what to do about it; empty likewise.
    """

    check: str
    status: str
    name: str
    says: str
    costs: str = ""
    mend: str = ""


def found(check: str, status: str | None = None, **values: Any) -> Finding:
    """A finding in words.

    Args:
        check: its key in `measure/data/doctor.yaml`.
        status: another than stands there.
        values: what the sentences name.
    """
    entry = {**known("doctor")[check], **({"status": status} if status else {})}
    return Finding(check=check, **{key: text.format(**values) for key, text in entry.items()})


@cache
def known(name: str) -> Any:
    """Facts that age, with their dates and sources, and sentences: `measure/data/<name>.yaml`."""
    import yaml

    text = (files("mnist_gpu.measure") / "data" / f"{name}.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)
