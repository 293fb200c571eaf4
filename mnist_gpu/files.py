"""Files on disk: written whole or not at all, and never over somebody else's."""

import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from itertools import chain, count
from pathlib import Path

from mnist_gpu.errors import UserError

PARTIAL = ".partial"
MANIFEST = ".mnist-gpu.sha256"
# of a package; what records hold of it stays true only while these and the digest stay
CODE = (".py", ".c", ".h")
# a line as sha256sum writes and checks them
ENTRY = re.compile(r"([0-9a-f]{64})  (\S+)")
WHAT_TO_DO = {
    errno.ENOSPC: "make room on its disk, or choose another folder",
    errno.EDQUOT: "make room in your quota, or choose another folder",
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "choose a folder you may write to"),
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
    """Write a file so that at any instant it is either absent, as before, or complete and on disk.

    Its folder is made if missing; `new` refuses to replace a file that is there.

    Raises:
        FileExistsError: `new`, and a file is there.
        OSError: the disk is full, or the folder cannot be written to; no partial file is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(PARTIAL, f".{path.name[:40]}.", path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            # mkstemp makes it private; a result is for everybody the umask lets in
            os.umask(mask := os.umask(0))
            os.chmod(partial, 0o666 & ~mask)
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
    # Windows, and some file systems, refuse it: the rename itself is whole
    with suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_own(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files, by name, into a folder that may hold other people's: all of them, or none.

    A file that is there is replaced only if this function wrote it and nobody has changed it since:
    its SHA-256 stands in the folder's `.mnist-gpu.sha256`.

    Raises:
        UserError: a file of that name is not ours; nothing has been written.
        OSError: the disk is full, or the folder cannot be written to.
    """
    # a digest, not a name: a file that somebody has edited is theirs now
    manifest = folder / MANIFEST
    known = _manifest(manifest)
    # all are looked at before the first is written
    for path in (folder / name for name in contents):
        regular = path.is_file() and not path.is_symlink()
        ours = regular and (_sha256(path.read_bytes()), path.name) in known
        if os.path.lexists(path) and not ours:
            raise UserError(
                f"{path}: is there already, and not as this program left it: move it away, or"
                " choose another folder"
            )
    new = {(_sha256(content), name) for name, content in contents.items()}
    # before and after: wherever this is cut off, what is there is known as ours
    _write_manifest(manifest, known | new)
    for name, content in contents.items():
        write_whole(folder / name, content)
    _write_manifest(manifest, new | {entry for entry in known if entry[1] not in contents})


def free(path: Path) -> Path:
    """`path`, or if something is there `name-2.suffix`, `name-3.suffix` and so on."""
    numbered = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(2))
    return next(one for one in chain([path], numbered) if not os.path.lexists(one))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def code_sha256(files: Mapping[str, bytes]) -> str:
    """A digest of a package's code: names and contents of its files of Python and C.

    Args:
        files: contents by path within the package, with `/`.
    """
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        if name.endswith(CODE):
            digest.update(name.encode() + b"\0" + content + b"\0")
    return digest.hexdigest()


def _manifest(path: Path) -> set[tuple[str, str]]:
    if not os.path.lexists(path):
        return set()
    try:
        entries = [ENTRY.fullmatch(line) for line in path.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError):
        entries = [None]
    if path.is_symlink() or not all(entries):
        raise UserError(f"{path}: is not a list that this program wrote: choose another folder")
    return {(entry[1], entry[2]) for entry in entries if entry}


def _write_manifest(path: Path, entries: set[tuple[str, str]]) -> None:
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
