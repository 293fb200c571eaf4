"""Compiles a kernel on the machine it runs on, once, and loads it.

The kernels share the OpenMP threads of PyTorch's own: a second pool would fight the first, whose
threads spin for a while after each of their operations.
"""

import ctypes
import hashlib
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from mnist_gpu.data.mnist import default_cache

OPTIONS = ("-O3", "-march=native", "-std=gnu11", "-fPIC", "-fopenmp")
COMPILE_S = 60
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class Unavailable(Exception):
    """There can be no kernel here; the message says why."""


def load(source: Path, definitions: Mapping[str, str | int]) -> ctypes.CDLL:
    """The library made from `source` with these macros, from the cache or compiled now (a second).

    What is kept is found again by source, macros, compiler and processor: a cache may be shared by
    machines. A cache that cannot be written, or that others could write, is no error and not used.

    Raises:
        Unavailable: not Linux, no compiler, or one that cannot compile this.
    """
    _share_openmp()
    macros = [f"-D{name}={value}" for name, value in definitions.items()]
    command = [*_compiler(), *OPTIONS, *macros]
    home = _private_cache()
    kept = home and home / f"{source.stem}-{_key(source, command)}.so"
    if kept:
        with suppress(OSError):
            return _open(kept)
    # private (0700) for as long as it is there: where there is no cache it is loaded from here
    with tempfile.TemporaryDirectory() as folder:
        made = _compile(source, command, Path(folder))
        if kept:
            # of two runs that start at once each renames its own, which is whole by then
            with suppress(OSError), tempfile.NamedTemporaryFile(dir=kept.parent) as own:
                own.write(made.read_bytes())
                own.flush()
                os.replace(own.name, kept)
                made = kept
        try:
            return _open(made)
        except OSError as exc:
            raise Unavailable(f"the compiled kernel cannot be loaded: {exc}") from exc


def _key(source: Path, command: list[str]) -> str:
    # the headers as well: a source includes what it likes
    texts = [path.read_text("utf-8") for path in (source, *sorted(source.parent.glob("*.h")))]
    parts = [*texts, *command, predefined()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def predefined() -> str:
    """The macros that the compiler defines of itself: its version, the processor's instructions."""
    return _run([*_compiler(), *OPTIONS, "-dM", "-E", "-x", "c", os.devnull])


def _compile(source: Path, command: list[str], folder: Path) -> Path:
    unlinked, made = folder / "kernel.o", folder / "kernel.so"
    _run([*command, "-c", str(source), "-o", str(unlinked)])
    # linked without OpenMP: its symbols are those of the library that PyTorch brought
    _run([command[0], "-shared", str(unlinked), "-o", str(made), "-lm"])
    return made


def _private_cache() -> Path | None:
    """The cache for kernels, if there can be one that this user and root alone write."""
    with suppress(OSError, RuntimeError):
        folder = default_cache().absolute() / "kernels"
        for part in (*reversed(folder.parents), folder):
            part.mkdir(mode=0o700, exist_ok=True)
        if _closed(folder):
            return folder
    return None


def _closed(folder: Path) -> bool:
    """Whether each folder on the way, and what each link on it leads to, is this user's or root's
    and writable by no other (but like /tmp, where others cannot replace what is not theirs)."""
    for part in (*reversed(folder.parents), folder):
        status = part.lstat()
        if status.st_uid not in (0, os.getuid()):
            return False
        if stat.S_ISLNK(status.st_mode):
            if not _closed(part.resolve(strict=True)):
                return False
        elif status.st_mode & OTHERS_WRITE and not status.st_mode & stat.S_ISVTX:
            return False
    # in the last, sticky or not, others could put a library under a name that is looked for
    return not folder.stat().st_mode & OTHERS_WRITE


def _run(command: list[str]) -> str:
    """What it prints; its files are this user's alone from their first moment, whatever umask."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=COMPILE_S, check=False, umask=0o077
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise Unavailable(f"{command[0]} cannot be run: {exc}") from exc
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "error" in line]
        raise Unavailable(f"{command[0]}: {said[0] if said else 'cannot compile it'}")
    return done.stdout


def _open(library: Path) -> ctypes.CDLL:
    """Load a file that is this user's alone: what is looked at is what is loaded. An OSError says
    that it is not there, that others could have written it, or that it is no library."""
    descriptor = os.open(library, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        own = stat.S_ISREG(status.st_mode) and status.st_uid == os.getuid()
        if not own or status.st_mode & OTHERS_WRITE:
            raise PermissionError(f"{library}: others may write it")
        # left open: the loader takes a second library under the same name for the first
        return ctypes.CDLL(f"/proc/self/fd/{descriptor}")
    except OSError:
        os.close(descriptor)
        raise


def _compiler() -> list[str]:
    """`$CC`, which may carry options, else gcc or cc."""
    given = shlex.split(os.environ.get("CC", ""))
    # not clang by name: its OpenMP is another library
    for command in (given, ["gcc"], ["cc"]):
        if command and (found := shutil.which(command[0])):
            return [found, *command[1:]]
    raise Unavailable("there is no C compiler (gcc)")


def _share_openmp() -> None:
    """Make the symbols of the OpenMP library that PyTorch has loaded visible to ours."""
    if sys.platform != "linux":
        raise Unavailable("it has been tried on Linux alone")
    maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="surrogateescape")
    # five fields without a slash, then the path, which may hold spaces (proc_pid_maps(5))
    found = re.search(r" (/.*/lib[gi]omp[^/\n]*)$", maps, re.MULTILINE)
    if not found:
        raise Unavailable("PyTorch's threads are not OpenMP's")
    ctypes.CDLL(found[1], ctypes.RTLD_GLOBAL)
