"""Files on disk: written whole or not at all, and never over somebody else's."""

import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path

from mnist_gpu.errors import UserError

PARTIAL = ".partial"
MANIFEST = ".mnist-gpu.sha256"
# a line as sha256sum writes and checks them
ENTRY = re.compile(r"([0-9a-f]{64})  (\S+)")
WHAT_TO_DO = {
    errno.ENOSPC: "make room on its disk, or choose another folder",
    errno.EDQUOT: "make room in your quota, or choose another folder",
    errno.EACCES: "choose a folder you may write to",
    errno.EPERM: "choose a folder you may write to",
    errno.EROFS: "choose a folder you may write to",
    errno.EMFILE: "raise the limit (ulimit -n)",
}


def trouble(exc: OSError | MemoryError, path: Path | None = None) -> str:
    """What the system refused, where (`path`, if it knows better), and what to do about it."""
    if isinstance(exc, MemoryError):
        return f"out of memory: {' '.join(str(exc).split()) or 'nothing is left'}"
    why = (exc.strerror or str(exc) or type(exc).__name__).lower()
    if exc.errno == errno.ENOMEM:
        return f"out of memory: {why}"
    where = f"{path or exc.filename}: " if path or exc.filename else ""
    advice = WHAT_TO_DO.get(exc.errno or 0)
    return f"{where}{why}: {advice}" if advice else f"{where}{why}"


def write_whole(path: Path, content: bytes, new: bool = False) -> None:
    """Write a file so that at any instant it is either absent, as before, or complete.

    Args:
        path: its folder is made if missing.
        content: reaches the disk before the file takes its name.
        new: refuse to replace a file that is there.

    Raises:
        FileExistsError: `new`, and a file is there.
        OSError: the disk is full, or the folder cannot be written to; no partial file is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(PARTIAL, f".{path.name[:40]}.", path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            # mkstemp makes it private; a result is for everybody the umask lets in
            os.chmod(partial, 0o666 & ~_umask())
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # each is one step: whoever looks meanwhile sees the old file or all of the new one
        if new:
            _link(partial, path)
        else:
            os.replace(partial, path)
    finally:
        Path(partial).unlink(missing_ok=True)
    _sync_folder(path.parent)


def write_own(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files, by name, into a folder that may hold other people's: all of them, or none.

    A file that is there is replaced only if this function wrote it and nobody has changed it since:
    its SHA-256 stands in the folder's `.mnist-gpu.sha256`.

    Raises:
        UserError: a file of that name is not ours; nothing has been written.
        OSError: the disk is full, or the folder cannot be written to.
    """
    manifest = folder / MANIFEST
    known = _manifest(manifest)
    for name in contents:
        path = folder / name
        if os.path.lexists(path) and (path.is_symlink() or (sha256_of(path), name) not in known):
            raise UserError(
                f"{path}: is there already, and not as this program left it: move it away, or"
                " choose another folder"
            )
    new = {(hashlib.sha256(content).hexdigest(), name) for name, content in contents.items()}
    # before and after: wherever this is cut off, what is there is known as ours
    _write_manifest(manifest, known | new)
    for name, content in contents.items():
        write_whole(folder / name, content)
    _write_manifest(manifest, new | {entry for entry in known if entry[1] not in contents})


def free(path: Path) -> Path:
    """`path`, or if something is there `name-2.suffix`, `name-3.suffix` and so on."""
    if not os.path.lexists(path):
        return path
    numbered = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(2))
    return next(other for other in numbered if not os.path.lexists(other))


def sha256_of(path: Path) -> str | None:
    """The SHA-256 (hex) of a regular file's content; None for anything else."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _manifest(path: Path) -> set[tuple[str | None, str]]:
    if not os.path.lexists(path):
        return set()
    try:
        entries = [ENTRY.fullmatch(line) for line in path.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError):
        entries = [None]
    if path.is_symlink() or not all(entries):
        raise UserError(f"{path}: is not a list that this program wrote: choose another folder")
    return {(entry[1], entry[2]) for entry in entries if entry}


def _write_manifest(path: Path, entries: set[tuple[str | None, str]]) -> None:
    lines = [f"{digest}  {name}\n" for digest, name in sorted(entries, key=lambda e: e[::-1])]
    write_whole(path, "".join(lines).encode())


def _link(partial: str, path: Path) -> None:
    try:
        os.link(partial, path)
    except FileExistsError:
        raise FileExistsError(errno.EEXIST, "is there already", str(path)) from None
    except OSError:  # a file system without hard links: O_EXCL takes the name, if it is free
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        os.replace(partial, path)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    # Windows, and some file systems, refuse it: the rename itself is whole
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
