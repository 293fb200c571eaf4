"""Records on disk: written whole or not at all, found in folders, read with suspicion."""

import json
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

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
SPACED_KEY = re.compile(rb'"\s+:')


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
    _parse(path, content)
    try:
        return Record.model_validate_json(content)
    except ValidationError as fault:
        raise RecordError(path, [_schema_fault(error) for error in fault.errors()]) from None


def find_records(paths: Sequence[Path | str]) -> list[Path]:
    """The record files under `paths`, in a fixed order, each once.

    A file that is named counts whatever it is called. In folders, searched to a depth of 16,
    `record.json` counts, and every other `*.json` that mentions a run id and a schema version.
    Symbolic links are followed, to each file and folder once. Hidden folders are passed over.

    Raises:
        UserError: a path does not exist, or a folder cannot be listed.

    """
    found: dict[str, Path] = {}
    for path in map(Path, paths):
        if not path.exists():
            raise UserError(f"{printable(str(path))}: no such file or folder")
        files = _search(str(path), MAX_DEPTH, set()) if path.is_dir() else [str(path)]
        for file in files:
            found.setdefault(os.path.realpath(file), Path(file))
    return list(found.values())


def printable(text: str) -> str:
    """`text` on one line, with everything escaped that a terminal or a log could act on."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _search(folder: str, depth: int, searched: set[tuple[int, int]]) -> Iterator[str]:
    try:
        here = os.stat(folder)
        if (here.st_dev, here.st_ino) in searched:
            return
        searched.add((here.st_dev, here.st_ino))
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as fault:
        raise UserError(f"{printable(folder)}: cannot be read ({fault.strerror})") from None
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            if depth == 0:
                where = printable(entry.path)
                raise UserError(f"{where}: nested too deeply: name the folder itself")
            yield from _search(entry.path, depth - 1, searched)
        elif _is_called_a_record(entry):
            yield entry.path


def _is_called_a_record(entry: os.DirEntry[str]) -> bool:
    if entry.name == RECORD_NAME:
        # a link to nowhere is called one, too, and is not passed over in silence
        return entry.is_file() or entry.is_symlink()
    return entry.name.endswith(".json") and entry.is_file() and _looks_like_a_record(entry.path)


def _looks_like_a_record(path: str) -> bool:
    try:
        if os.stat(path).st_size > MAX_BYTES:
            return False
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES)
    except OSError:
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
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as fault:
        reason = getattr(fault, "strerror", None) or str(fault)
        raise RecordError(path, [("file", f"cannot be read ({printable(reason)})")]) from None
    if len(content) > MAX_BYTES:
        raise RecordError(path, [("file", f"larger than {MAX_BYTES // 1024**2} MiB")])
    return content


def _parse(path: Path, content: bytes) -> None:
    """Refuse what is no JSON object with each key once; pydantic alone would let the last win."""
    if encoding := _marked_encoding(content):
        kind = "UTF-8 with a byte order mark" if encoding == "utf-8-sig" else encoding.upper()
        raise RecordError(path, [("file", f"is {kind}: save it as UTF-8 without a mark")])
    try:
        parsed = from_json(content, allow_inf_nan=False, cache_strings="keys")
        plain = isinstance(parsed, dict) and SPACED_KEY.search(content) is None
        if plain and _keys(parsed) == content.count(b'":'):
            return
        # rare: a key twice, or a text that looks like one. The exact way is much slower
        parsed = json.loads(
            content.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant
        )
    except UnicodeDecodeError:
        raise RecordError(path, [("file", "not UTF-8 text")]) from None
    except RecursionError:
        raise RecordError(path, [("file", "nested too deeply")]) from None
    except ValueError as fault:
        reason = printable(str(fault))[:200]
        raise RecordError(path, [("file", f"not a whole JSON file: {reason}")]) from None
    if not isinstance(parsed, dict):
        raise RecordError(path, [("file", "holds no JSON object")])


def _keys(value: dict[str, Any]) -> int:
    """The keys of nested mappings and of lists of flat ones: all that records hold. What lies
    deeper in a list is not counted, and so is read the exact way."""
    return len(value) + sum(
        [
            _keys(entry)
            if type(entry) is dict
            else sum([len(row) for row in entry if type(row) is dict])
            for entry in value.values()
            if type(entry) is dict or type(entry) is list
        ]
    )


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        again = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"key {again[:60]!r} appears twice")
    return found


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON number")


def _schema_fault(error: Any) -> tuple[str, str]:
    field = ".".join(str(part) for part in error["loc"]) or "record"
    return printable(field)[:120], printable(error["msg"])[:200]
