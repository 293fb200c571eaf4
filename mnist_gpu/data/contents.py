"""What a file holds, by its first bytes: for the message when it is not what was wanted."""

import gzip
import os
import stat
import zlib
from pathlib import Path

HEAD_BYTES = 512
SHOWN = 5
UNPACK = "unpack it first"
SIGNATURES: list[tuple[int, bytes, str]] = [
    (0, b"version https://git-lfs", "a pointer of Git LFS: `git lfs pull` fetches the file itself"),
    (0, b"PAR1", "a Parquet table"),
    (0, b"\x89HDF", "an HDF5 file"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"SQLite format 3", "an SQLite database"),
    (0, b"\x89PNG", "a PNG picture"),
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (0, b"%PDF", "a PDF document"),
    *(
        (0, bytes((0x80, version)), "a Python pickle, which is never read")
        for version in range(2, 6)
    ),
    (257, b"ustar", f"a tar archive: {UNPACK}"),
    (0, b"PK\x03\x04", f"a zip archive: {UNPACK}"),
    (0, b"7z\xbc\xaf", f"a 7z archive: {UNPACK}"),
    (0, b"BZh", f"compressed by bzip2: {UNPACK}"),
    (0, b"\xfd7zXZ", f"compressed by xz: {UNPACK}"),
    (0, b"\x28\xb5\x2f\xfd", f"compressed by zstd: {UNPACK}"),
    (0, b"\x1f\x8b", "gzipped twice"),
    (0, b"\x00\x00\x08", "an IDX file"),
    (0, b"\x00\x00", "an IDX file of another type, or zeros"),
]


def describe(head: bytes) -> str:
    """Name what begins with `head` (up to `HEAD_BYTES`), in a few words after "it is"."""
    for offset, signature, name in SIGNATURES:
        if head[offset:].startswith(signature):
            return name
    text = head.decode("utf-8-sig", "ignore")
    if not text or not all(c.isprintable() or c.isspace() for c in text):
        return f"something unknown (it begins {head[:4].hex()})"
    return _describe_text(text.strip())


def _describe_text(text: str) -> str:
    if text.lower().startswith(("<!doctype html", "<html", "<head")):
        return "an HTML page: a download that went wrong?"
    if text.startswith("<"):
        return "an XML document: a download that went wrong?"
    if text.startswith(("{", "[")):
        return "JSON"
    first, *others = text.splitlines() or [""]
    if first.count(",") > 1 and all("," in line for line in others[:1]):
        return "a CSV table"
    return f"a text that begins {first[:30]!r}"


def inventory(folder: Path) -> str:
    """The first few things in `folder` and what they are, in one line."""
    try:
        entries = sorted(os.listdir(folder))
    except OSError as exc:
        return f"cannot be listed: {exc.strerror}"
    if not entries:
        return "empty"
    shown = [f"{entry} ({_kind(folder / entry)})" for entry in entries[:SHOWN]]
    more = len(entries) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _kind(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return "a folder"
        if not stat.S_ISREG(mode):
            return "not a file"
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        if head.startswith(b"\x1f\x8b"):
            with gzip.open(path) as unzipped:
                head = unzipped.read(HEAD_BYTES)
    except (OSError, EOFError, zlib.error) as exc:
        return str(getattr(exc, "strerror", None) or "damaged")
    return describe(head) if head else "empty"
