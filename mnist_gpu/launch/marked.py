"""The marked lines that `scripts/bootstrap.py` prints, read back from a log and checked."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from mnist_gpu.errors import UserError
from mnist_gpu.files import trouble, write_whole
from mnist_gpu.records.schema import Record

MARK = "MNIST_GPU_RESULT"
OWN = "own"


@dataclass(frozen=True)
class Result:
    """What a run on another machine said at its end: its record as plain values with the record's
    status, or the reason why there is none. `engine` is the one that was asked for, `own` the
    platform's; no other comes after the `last`.
    """

    status: str
    reason: str | None
    record: dict[str, Any] | None
    engine: str = OWN
    last: bool = True


def of_files(texts: Mapping[str, bytes], since: datetime | None = None) -> dict[str, Result]:
    """By engine, the results of runs of which the records alone came home.

    Args:
        texts: by the stem that the bootstrap chose: `record-<engine>`, `record` for the platform's.
        since: leave out what is older.
    """
    found = {}
    for stem, text in texts.items():
        try:
            record = json.loads(text)
            made = datetime.fromisoformat(record["created_at"])
        except (ValueError, KeyError, TypeError):
            continue
        if not since or made >= since:
            engine = stem.removeprefix("record").removeprefix("-") or OWN
            found[engine] = Result(str(record.get("status", "failed")), None, record, engine)
    return found


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
        # what a console appended to the line is left alone
        found, _ = json.JSONDecoder().raw_decode(text.strip())
    except ValueError:
        return None
    if not isinstance(found, dict) or found.get("tag", "") != tag:
        return None
    record, reason = found.get("record"), found.get("reason")
    # a console that dropped a few digits would give another time
    if record is not None and digest(record) != found.get("sha256"):
        return None
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


def keep(results: Mapping[str, Result], where: str, out: Path) -> int:
    """Save every record below `out` and say where; 0 when all runs completed, else 1.

    Raises:
        UserError: a run left no valid record, or its turn never came; the others are saved.
    """
    if not results:
        raise UserError(f"{where}: the run ended without a result line; its log says why")
    faults = []
    for result in sorted(results.values(), key=lambda result: result.engine != OWN):
        try:
            print(f"record: {_save(result, out)}", flush=True)
        except UserError as exc:
            faults.append(f"{where}: {exc}")
    if not any(result.last for result in results.values()):
        faults.append(f"{where}: it ended before every engine had its turn; its log says why")
    if faults:
        raise UserError("; ".join(dict.fromkeys(faults)))
    return 0 if all(result.status == "completed" for result in results.values()) else 1


def _save(result: Result, out: Path) -> Path:
    """Write a result's record, if it is valid, to `out/<platform>/<time>-seed<seed>-<id>/`, where
    it replaces nothing."""
    if result.record is None:
        raise UserError(f"the run failed: {result.reason or 'no reason given'}")
    try:
        record = Record.model_validate(result.record)
    except ValueError as exc:
        raise UserError(f"the record is not valid: {' '.join(str(exc).split())[:200]}") from None
    platform = record.platform.name
    # the schema lets a name hold dots, and these two are folders
    if platform in (".", ".."):
        raise UserError(f"the record is not valid: platform.name {platform!r}")
    stamp = record.created_at.split(".")[0].replace("-", "").replace(":", "").rstrip("Z")
    name = f"{stamp}Z-seed{record.workload.seed}-{record.run_id[:6]}"
    path = out / platform / name / "record.json"
    try:
        write_whole(path, (json.dumps(result.record, indent=2) + "\n").encode(), new=True)
    except OSError as exc:
        if os.path.lexists(path):
            raise UserError(f"{path} is there already: this record was saved before") from None
        raise UserError(trouble(exc, path)) from None
    return path
