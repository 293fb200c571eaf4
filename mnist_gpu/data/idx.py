"""Reading IDX files, the format of the original MNIST files, and refusing anything else.

Format: http://yann.lecun.com/exdb/mnist/ (magic 0x0000, type 0x08 unsigned byte, number of
dimensions, then each dimension as a big-endian 32-bit count, then the data).
"""

import gzip
import hashlib
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mnist_gpu.errors import UserError

UNSIGNED_BYTE = 0x08
# the largest set that is read: MNIST is 47 MB; EMNIST's largest split 640 MB
MAX_BYTES = 1_000_000_000


@dataclass(frozen=True)
class IdxFile:
    """One file's contents.

    Attributes:
        array: uint8, of the shape the header states; read-only.
        sha256: hexadecimal digest of the decompressed file, header included.
    """

    array: npt.NDArray[np.uint8]
    sha256: str


def read(path: Path, dimensions: int) -> IdxFile:
    """Read one IDX file of unsigned bytes, plain or gzipped (by content, not by name).

    Args:
        path: the file.
        dimensions: 3 for images, 1 for labels.

    Raises:
        UserError: the file is missing, unreadable, empty, truncated, too long, damaged, or not an
            IDX file of that many dimensions; the message names it.
    """
    content = _content(path)
    if not content:
        raise UserError(f"{path}: the file is empty; fetch it again")
    header_bytes = 4 + 4 * dimensions
    if len(content) < header_bytes:
        raise UserError(f"{path}: truncated: {len(content)} bytes are not even an IDX header")
    zero, kind, found = struct.unpack(">HBB", content[:4])
    if zero != 0 or kind != UNSIGNED_BYTE:
        raise UserError(f"{path}: not an IDX file of unsigned bytes (magic {content[:4].hex()})")
    if found != dimensions:
        what = {1: "labels", 3: "images"}
        raise UserError(
            f"{path}: holds {what.get(found, f'{found} dimensions')}, not {what[dimensions]}:"
            " are two files swapped?"
        )
    shape = struct.unpack(f">{dimensions}I", content[4:header_bytes])
    expected = header_bytes
    size = 1
    for length in shape:
        size *= length
    expected += size
    if len(content) != expected:
        fault = "truncated" if len(content) < expected else "too long"
        raise UserError(f"{path}: {fault}: {len(content)} bytes, its header says {expected}")
    array = np.frombuffer(content, np.uint8, offset=header_bytes).reshape(shape)
    return IdxFile(array, hashlib.sha256(content).hexdigest())


def header(array: npt.NDArray[np.uint8]) -> bytes:
    """The IDX header that goes before `array`."""
    return struct.pack(
        f">HBB{array.ndim}I", 0, UNSIGNED_BYTE, array.ndim, *(int(n) for n in array.shape)
    )


def digest(arrays: list[npt.NDArray[np.uint8]]) -> str:
    """SHA-256 over the arrays as IDX files, one after the other, hexadecimal."""
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(header(array))
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            start = file.read(2)
            file.seek(0)
            if start != b"\x1f\x8b":
                content = file.read(MAX_BYTES + 1)
            else:
                with gzip.GzipFile(fileobj=file) as unzipped:
                    content = unzipped.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except EOFError:
        raise UserError(f"{path}: truncated: the gzip stream ends early; fetch it again") from None
    except (gzip.BadGzipFile, zlib.error) as fault:
        raise UserError(f"{path}: damaged gzip file ({fault}); fetch it again") from None
    except OSError as fault:
        raise UserError(f"{path}: cannot be read: {fault.strerror or fault}") from None
    if len(content) > MAX_BYTES:
        raise UserError(f"{path}: more than {MAX_BYTES:,} bytes: not a set of digits")
    return content
