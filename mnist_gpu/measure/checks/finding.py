"""What a check has to say."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report.

    Attributes:
        name: what was looked at, in a word or three.
        status: `ok`; `warn`: a run works, but is slower or less certain than it could be; `fail`:
            a run does not work, or its result would be wrong or mean something else.
        says: what was seen.
        costs: what it does to a run; empty where all is well.
        mend: what to do about it; empty likewise.
    """

    name: str
    status: Status
    says: str
    costs: str = ""
    mend: str = ""


def ok(name: str, says: str) -> Finding:
    """All is well."""
    return Finding(name, "ok", says)


def warn(name: str, says: str, costs: str, mend: str) -> Finding:
    """A run works, but not as well as it could."""
    return Finding(name, "warn", says, costs, mend)


def fail(name: str, says: str, costs: str, mend: str) -> Finding:
    """A run does not work, or is not what it seems."""
    return Finding(name, "fail", says, costs, mend)
