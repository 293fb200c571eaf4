"""What a file holds, by its first bytes: for the message when it is not what was wanted."""

import gzip
import os
import zlib
from pathlib import Path

HEAD_BYTES = 512
SHOWN = 5
SIGNATURES = [
    (0, b"version https://git-lfs", "a pointer of Git LFS: `git lfs pull` fetches the file itself"),
    (0, b"PAR1", "a Parquet table"),
    (0, b"\x89HDF", "an HDF5 file"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"\x89PNG", "a PNG picture"),
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    *(
        (0, bytes((128, version)), "a Python pickle, which is never read")
        for version in range(2, 6)
    ),
    (257, b"ustar", "a tar archive: unpack it"),
    (0, b"PK\x03\x04", "a zip archive: unpack it"),
    (0, b"7z\xbc\xaf", "a 7z archive: unpack it"),
    (0, b"BZh", "compressed by bzip2: unpack it"),
    (0, b"\xfd7zXZ", "compressed by xz: unpack it"),
    (0, b"\x28\xb5\x2f\xfd", "compressed by zstd: unpack it"),
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
    shown = [f"{entry} ({_kind(folder / entry)})" for entry in entries[:SHOWN]]
    more = [f"{len(entries) - SHOWN} more"] if len(entries) > SHOWN else []
    return ", ".join(shown + more) or "nothing"


def _kind(path: Path) -> str:
    if not path.is_file():
        return "a folder" if path.is_dir() else "not a file"
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        if head.startswith(b"\x1f\x8b"):
            with gzip.open(path) as unzipped:
                head = unzipped.read(HEAD_BYTES)
    except (OSError, EOFError, zlib.error) as exc:
        return f"unreadable: {exc}"
    return describe(head) if head else "empty"
