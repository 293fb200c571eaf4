"""The marked lines that `scripts/bootstrap.py` prints, read back from a log and checked."""

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
OWN = "own"


@dataclass(frozen=True)
class Result:
    """What a run on another machine said at its end.

    Attributes:
        status: the record's, or `failed`.
        reason: why there is no record, else None.
        record: the record as plain values, else None.
        engine: the engine that was asked for; `own` is the platform's.
        last: no other engine comes after it.
    """

    status: str
    reason: str | None
    record: dict[str, Any] | None
    engine: str = OWN
    last: bool = True


def file_name(engine: str) -> str:
    """What the bootstrap calls the file with an engine's record."""
    return "record.json" if engine == OWN else f"record-{engine}.json"


def of_file(record: dict[str, Any], engine: str) -> Result:
    """The result of a run of which its record alone came home."""
    return Result(str(record.get("status", "failed")), None, record, engine)


def find_results(log: str, tag: str) -> dict[str, Result]:
    """The last intact result line of each engine in `log` that carries `tag`.

    A console may print other messages into a line or cut it: a line that is no JSON, or whose
    record does not have the SHA-256 it names, is passed over.
    """
    found = {}
    for line in log.splitlines():
        _, mark, rest = line.partition(MARK)
        if mark and (result := _parse(rest, tag)):
            found[result.engine] = result
    return found


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
    return Result(
        status=str(found.get("status", "failed")),
        reason=reason and str(reason)[:300],
        record=record,
        engine=str(found.get("engine", OWN)),
        last=bool(found.get("last", True)),
    )


def digest(record: dict[str, Any]) -> str:
    """SHA-256 (hex) of a record written with sorted keys and no spaces."""
    text = json.dumps(record, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def keep(results: dict[str, Result], where: str, out: Path) -> int:
    """Save every record there is and say where; 0 when all runs completed, else 1.

    Args:
        results: by engine, as found.
        where: the platform, for the messages.
        out: the folder `outputs/`, or another.

    Raises:
        UserError: a run left no valid record, or its turn never came; the others are saved.
    """
    if not results:
        raise UserError(f"{where}: the run ended without a result line; its log says why")
    faults = []
    for result in sorted(results.values(), key=lambda result: result.engine != OWN):
        try:
            print(f"record: {save(result, where, out)}", flush=True)
        except UserError as fault:
            faults.append(str(fault))
    if not any(result.last for result in results.values()):
        faults.append(f"{where}: it ended before every engine had its turn; its log says why")
    if faults:
        raise UserError("; ".join(dict.fromkeys(faults)))
    return 0 if all(result.status == "completed" for result in results.values()) else 1


def save(result: Result, where: str, out: Path) -> Path:
    """Write the record of a result to `out/<platform>/<time>-seed<seed>-<id>/record.json`.

    Args:
        result: as found.
        where: the platform, for the message.
        out: the folder `outputs/`, or another.

    Raises:
        UserError: there is no valid record in it, or it cannot be written; nothing that is there
            is replaced.
    """
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
