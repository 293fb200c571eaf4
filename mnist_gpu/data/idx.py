"""Reading IDX files, the format of the original MNIST files, and refusing anything else.

Format: http://yann.lecun.com/exdb/mnist/ (magic 0x0000, type 0x08 unsigned byte, number of
dimensions, then each dimension as a big-endian 32-bit count, then the data).
"""

import gzip
import hashlib
import math
import os
import re
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from mnist_gpu.errors import UserError
from mnist_gpu.paths import packaged

UNSIGNED_BYTE = 0x08
HEAD_BYTES = 512
SHOWN = 5
GZIP = b"\x1f\x8b"
CHUNK_BYTES = 1 << 20


class NotPublishedError(UserError):
    """A file in order that is not the one wanted: it may belong to another set."""


class IdxFile(NamedTuple):
    """One file's contents: uint8 of the shape that the header states, read-only, and the digest
    (hexadecimal) of the decompressed file, header included."""

    array: npt.NDArray[np.uint8]
    sha256: str


def read(path: Path, item: tuple[int, ...], most_bytes: int) -> IdxFile:
    """Read one IDX file of unsigned bytes, plain or gzipped (by content, not by name).

    Args:
        path: the file.
        item: the shape of one item: (28, 28) for images, () for labels.
        most_bytes: a file that is longer, decompressed and with its header, is not read.

    Raises:
        UserError: the file is missing, unreadable, empty, truncated, too long, damaged, or not an
            IDX file of such items; the message names it and says what it is instead.
    """
    try:
        # a pipe would block
        if path.exists() and not path.is_file():
            raise UserError(f"{path}: not a file")
        with path.open("rb") as file:
            return parse(file, str(path), item, most_bytes)
    except OSError as exc:
        raise UserError(f"{path}: cannot be read: {exc.strerror or exc}") from None


def parse(stream: BinaryIO, where: str, item: tuple[int, ...], most_bytes: int) -> IdxFile:
    """Read from a seekable stream what `read` reads from a file; `where` names it in messages."""
    # browsers unpack what they download and leave the name
    packed = stream.read(len(GZIP)) == GZIP
    stream.seek(0)
    try:
        return _parse(gzip.open(stream) if packed else stream, where, item, most_bytes)
    except EOFError:
        raise UserError(f"{where}: truncated: the gzip stream ends early; fetch it again") from None
    except (gzip.BadGzipFile, zlib.error) as exc:
        raise UserError(f"{where}: damaged gzip file ({exc}); fetch it again") from None


def _parse(
    stream: BinaryIO | gzip.GzipFile, where: str, item: tuple[int, ...], most_bytes: int
) -> IdxFile:
    content = bytearray(stream.read(HEAD_BYTES))
    shape = _shape(bytes(content), where, item)
    header_bytes = 4 + 4 * len(shape)
    expected = header_bytes + math.prod(shape)
    if expected > most_bytes:
        raise NotPublishedError(
            f"{where}: {expected:,} bytes by its header, more than the {most_bytes:,} that are read"
        )
    # memory grows with what is there, not with what a header claims
    while chunk := stream.read(max(0, min(CHUNK_BYTES, expected + 1 - len(content)))):
        content += chunk
    if len(content) < expected:
        raise UserError(f"{where}: truncated: {len(content):,} bytes, its header says {expected:,}")
    # a byte too many may be the head of something else, and the digest is of the whole file
    if len(content) > expected:
        raise UserError(f"{where}: too long: more than the {expected:,} bytes its header says")
    array = np.frombuffer(content, np.uint8, offset=header_bytes).reshape(shape)
    array.flags.writeable = False
    return IdxFile(array, hashlib.sha256(content).hexdigest())


def _shape(head: bytes, where: str, item: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that a file's header states, checked against the shape of one item."""
    if not head:
        raise UserError(f"{where}: the file is empty; fetch it again")
    if head[:3] != bytes((0, 0, UNSIGNED_BYTE))[: len(head)]:
        raise UserError(f"{where}: not an IDX file of unsigned bytes: it is {_describe(head)}")
    dimensions = head[3] if len(head) > 3 else 0
    header_bytes = 4 + 4 * (1 + len(item))
    if dimensions != 1 + len(item) and len(head) > 3:
        kinds = {1: "labels", 3: "images"}
        raise UserError(
            f"{where}: holds {kinds.get(dimensions, f'{dimensions} dimensions')}, not"
            f" {kinds[1 + len(item)]}: are two files swapped?"
        )
    if len(head) < header_bytes:
        raise UserError(f"{where}: truncated: {len(head)} bytes are not even an IDX header")
    shape = struct.unpack(f">{dimensions}I", head[4:header_bytes])
    if shape[1:] != item:
        raise UserError(f"{where}: images of {'x'.join(map(str, shape[1:]))}, not 28x28")
    return shape


def header(array: npt.NDArray[np.uint8]) -> bytes:
    """The IDX header that goes before `array`."""
    return struct.pack(f">HBB{array.ndim}I", 0, UNSIGNED_BYTE, array.ndim, *array.shape)


def digest(arrays: list[npt.NDArray[np.uint8]]) -> str:
    """SHA-256 over the arrays as IDX files, one after the other, hexadecimal."""
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(header(array))
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()


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
        if head.startswith(GZIP):
            with gzip.open(path) as unzipped:
                head = unzipped.read(HEAD_BYTES)
    except (OSError, EOFError, zlib.error) as exc:
        return f"unreadable: {exc}"
    return _describe(head) if head else "empty"


def _describe(head: bytes) -> str:
    """Name what begins with `head`, in a few words after "it is"."""
    letters = head.decode("latin-1")
    for pattern, name in packaged("data/contents"):
        if re.match(pattern, letters):
            return str(name)
    text = head.decode("utf-8-sig", "ignore")
    if not text or not all(c.isprintable() or c.isspace() for c in text):
        return f"something unknown (it begins {head[:4].hex()})"
    return f"a text that begins {text.strip().partition(chr(10))[0][:30]!r}"
