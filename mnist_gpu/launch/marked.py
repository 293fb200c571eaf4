"""The marked line that `scripts/bootstrap.py` prints, read back from a log and checked."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnist_gpu.errors import UserError
from mnist_gpu.files import trouble, write_whole
from mnist_gpu.records.schema import Record

MARK = "MNIST_GPU_RESULT"


@dataclass(frozen=True)
class Result:
    """What a run on another machine said at its end.

    Attributes:
        status: the record's, or `failed`.
        reason: why there is no record, else None.
        record: the record as plain values, else None.
    """

    status: str
    reason: str | None
    record: dict[str, Any] | None


def find_result(log: str, tag: str) -> Result | None:
    """The last intact result line of `log` that carries `tag`; None when there is none.

    A console may print other messages into a line or cut it: a line that is no JSON, or whose
    record does not have the SHA-256 it names, is passed over.
    """
    for line in reversed(log.splitlines()):
        _, mark, rest = line.partition(MARK)
        result = _parse(rest, tag) if mark else None
        if result:
            return result
    return None


def _parse(text: str, tag: str) -> Result | None:
    try:
        found, _ = json.JSONDecoder().raw_decode(text.strip())
    except ValueError:
        return None
    if not isinstance(found, dict) or found.get("tag", "") != tag:
        return None
    record = found.get("record")
    if record is not None and digest(record) != found.get("sha256"):
        return None
    reason = found.get("reason")
    return Result(str(found.get("status", "failed")), reason and str(reason)[:300], record)


def digest(record: dict[str, Any]) -> str:
    """SHA-256 (hex) of a record written with sorted keys and no spaces."""
    text = json.dumps(record, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def save(result: Result | None, where: str, out: Path) -> Path:
    """Write the record of a result to `out/<platform>/<time>-seed<seed>-<id>/record.json`.

    Args:
        result: as found, or None.
        where: the platform, for the message.
        out: the folder `outputs/`, or another.

    Raises:
        UserError: there is no result, no valid record in it, or it cannot be written; nothing that
            is there is replaced.
    """
    if result is None:
        raise UserError(f"{where}: the run ended without a result line; its log says why")
    if result.record is None:
        raise UserError(f"{where}: the run failed: {result.reason or 'no reason given'}")
    try:
        record = Record.model_validate(result.record)
    except ValueError as fault:
        raise UserError(f"{where}: the record is not valid: {_first_line(fault)}") from None
    stamp = record.created_at.split(".")[0].replace("-", "").replace(":", "").rstrip("Z")
    name = f"{stamp}Z-seed{record.workload.seed}-{record.run_id[:6]}"
    if record.platform.name in (".", ".."):
        raise UserError(f"{where}: the record is not valid: platform.name {record.platform.name!r}")
    path = out / record.platform.name / name / "record.json"
    text = json.dumps(result.record, indent=2) + "\n"
    try:
        write_whole(path, text.encode(), new=True)
    except OSError as exc:
        if os.path.lexists(path):
            raise UserError(f"{path} is there already: this record was saved before") from None
        raise UserError(trouble(exc, path)) from None
    return path


def _first_line(fault: ValueError) -> str:
    return " ".join(str(fault).split())[:200]
