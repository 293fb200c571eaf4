"""Records on disk: written whole or not at all, found in folders, read with suspicion."""

import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mnist_gpu.errors import UserError
from mnist_gpu.files import trouble, write_whole
from mnist_gpu.records.schema import Record

RECORD_NAME = "record.json"
MAX_BYTES = 2 * 1024 * 1024
MAX_DEPTH = 16
SNIFFED_KEYS = (b'"run_id"', b'"schema_version"')
# byte order marks; the longer ones first
ENCODINGS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}


class RecordError(UserError):
    """A file that is no record. `faults` holds every (field, reason)."""

    def __init__(self, path: Path, faults: Sequence[tuple[str, str]]) -> None:
        self.path = path
        self.faults = list(faults)
        field, reason = self.faults[0]
        more = f" (and {len(self.faults) - 1} more)" if len(self.faults) > 1 else ""
        super().__init__(f"{printable(str(path))}: {field}: {reason}{more}")


def write_record(record: Record, path: Path | str) -> None:
    """Write a record so that a reader sees the whole of it or the file as it was before.

    The bytes go to a temporary file in the same folder, reach the disk, and take the name at once.

    Raises:
        UserError: the folder cannot be written to.

    """
    try:
        write_whole(Path(path), (record.model_dump_json(indent=2) + "\n").encode())
    except OSError as exc:
        raise UserError(trouble(exc, Path(path))) from None


def read_record(path: Path | str) -> Record:
    """Read one record and check its schema (not yet its truth: see `records.rules`).

    Raises:
        RecordError: not a readable file, too large, not JSON, or not of the schema.

    """
    path = Path(path)
    content = _read_bytes(path)
    try:
        record = Record.model_validate_json(content)
    except ValidationError as exc:
        _check_json(path, content)
        raise RecordError(path, [_schema_fault(error) for error in exc.errors()]) from None
    # pydantic lets the last of two equal keys win. Without escapes every quotation mark begins or
    # ends a key or a text; if there are more than the record has itself, the slow way says why
    quotes = record.model_dump_json(exclude={"epochs"}, exclude_unset=True).count('"')
    keys = 1 + sum([len(row.model_fields_set) for row in record.epochs])
    if b"\\" in content or content.count(b'"') != quotes + 2 * keys:
        _check_json(path, content)
    return record


def find_records(paths: Sequence[Path | str]) -> list[Path]:
    """The record files under `paths`, in a fixed order, each once.

    A file that is named counts whatever it is called. In folders, searched to a depth of 16,
    `record.json` counts, and every other `*.json` that mentions a run id and a schema version.
    Symbolic links are followed, to each file and folder once. Hidden folders are passed over.

    Raises:
        UserError: a path does not exist, or a folder cannot be listed.

    """
    found: dict[object, Path] = {}
    if "" in paths:
        # an unset variable of a shell; to Python it is the present folder
        raise UserError("a PATH is empty: name a record or a folder (. for this one)")
    for path in map(Path, paths):
        if not os.path.exists(path):
            raise UserError(f"{printable(str(path))}: no such file or folder")
        for file in _search(str(path)) if path.is_dir() else [str(path)]:
            found.setdefault(_identity(file), Path(file))
    return list(found.values())


def printable(text: str) -> str:
    """`text` on one line, with everything escaped that a terminal or a log could act on."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _search(top: str) -> list[str]:
    """The records in a folder, sorted; to each folder once, however many links lead there."""
    found: list[str] = []
    searched = {_identity(top)}
    for folder, folders, files in os.walk(top, onerror=_refuse, followlinks=True):
        inner = {name: _identity(f"{folder}/{name}") for name in sorted(folders) if name[0] != "."}
        # os.walk goes into what is left in its list
        folders[:] = [name for name, identity in inner.items() if identity not in searched]
        searched |= set(inner.values())
        if folders and folder.count(os.sep) - top.count(os.sep) >= MAX_DEPTH:
            raise UserError(f"{printable(folder)}: nested too deeply: name the folder itself")
        paths = [os.path.join(folder, name) for name in files if name[0] != "."]
        found += [path for path in paths if _is_called_a_record(path)]
    return sorted(found, key=lambda path: path.split(os.sep))


def _refuse(exc: OSError) -> None:
    raise UserError(f"{printable(str(exc.filename))}: cannot be read ({exc.strerror})") from None


def _identity(path: str) -> object:
    """The same for all links to one file or folder."""
    try:
        status = os.stat(path)
    except OSError:
        return path
    return status.st_dev, status.st_ino


def _is_called_a_record(path: str) -> bool:
    if os.path.basename(path) == RECORD_NAME:
        # a link to nowhere is called one, too, and is not passed over in silence
        return os.path.isfile(path) or os.path.islink(path)
    if not path.endswith(".json"):
        return False
    try:
        content = _read_bytes(Path(path))
    except RecordError:
        return False
    if encoding := _marked_encoding(content):
        content = content.decode(encoding, "ignore").encode()
    return all(key in content for key in SNIFFED_KEYS)


def _marked_encoding(content: bytes) -> str | None:
    return next((name for mark, name in ENCODINGS.items() if content.startswith(mark)), None)


def _read_bytes(path: Path) -> bytes:
    try:
        # a pipe or a device would block or never end
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise RecordError(path, [("file", "not a regular file")])
            # one more, to see that there is more
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as fault:
        reason = getattr(fault, "strerror", None) or str(fault)
        raise RecordError(path, [("file", f"cannot be read ({printable(reason)})")]) from None
    if len(content) > MAX_BYTES:
        raise RecordError(path, [("file", f"larger than {MAX_BYTES // 1024**2} MiB")])
    return content


def _check_json(path: Path, content: bytes) -> None:
    """Refuse what is no JSON object with each key once."""
    if encoding := _marked_encoding(content):
        kind = "UTF-8 with a byte order mark" if encoding == "utf-8-sig" else encoding.upper()
        raise RecordError(path, [("file", f"is {kind}: save it as UTF-8 without a mark")])
    try:
        parsed = json.loads(
            content.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant
        )
        if not isinstance(parsed, dict):
            raise ValueError("it holds no JSON object")
    except RecursionError:
        raise RecordError(path, [("file", "nested too deeply")]) from None
    except ValueError as exc:
        reason = printable(str(exc))[:200]
        raise RecordError(path, [("file", f"not a whole JSON file: {reason}")]) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    # Python would keep the last, another reader the first
    if len(entries) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"{twice[:60]!r} appears twice")
    return entries


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON number")


def _schema_fault(error: Any) -> tuple[str, str]:
    field = ".".join(str(part) for part in error["loc"]) or "record"
    return printable(field)[:120], printable(error["msg"])[:200]
