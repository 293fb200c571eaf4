"""Compiles a kernel on the machine it runs on, once, and loads it.

The kernels share the OpenMP threads of PyTorch's own: a second pool would fight the first, whose
threads spin for a while after each of their operations.
"""

import ctypes
import hashlib
import os
import platform
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
    compiler = _compiler()
    macros = [f"-D{name}={value}" for name, value in definitions.items()]
    home = _private_cache()
    kept = home and home / f"{source.stem}-{_key(source, compiler, macros)}.so"
    if kept:
        with suppress(OSError, Unavailable):
            return _open(kept)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "kernel.so"
        unlinked = made.with_suffix(".o")
        _run([*compiler, *macros, *OPTIONS, "-c", str(source), "-o", str(unlinked)])
        # linked without OpenMP: its symbols are those of the library that PyTorch brought
        _run([compiler[0], "-shared", str(unlinked), "-o", str(made), "-lm"])
        made.chmod(0o700)
        if kept:
            with suppress(OSError):
                made = _keep(made, kept)
        try:
            return _open(made)
        except OSError as fault:
            raise Unavailable(f"the compiled kernel cannot be read: {fault}") from fault


def _keep(made: Path, kept: Path) -> Path:
    """Move a library into the cache; of two runs that start at once each renames its own."""
    own = kept.with_name(f".{kept.stem}.{os.getpid()}.so")
    try:
        shutil.copy(made, own)
        return own.replace(kept)
    finally:
        own.unlink(missing_ok=True)


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
        others_write = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if status.st_uid not in (0, os.getuid()):
            return False
        if stat.S_ISLNK(status.st_mode):
            if not _closed(part.resolve(strict=True)):
                return False
        elif others_write and not status.st_mode & stat.S_ISVTX:
            return False
    return not stat.S_IMODE(folder.stat().st_mode) & (stat.S_IWGRP | stat.S_IWOTH)


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=COMPILE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as fault:
        raise Unavailable(f"{command[0]} cannot be run: {fault}") from fault
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "error" in line]
        raise Unavailable(f"{command[0]}: {said[0] if said else 'cannot compile it'}")


def _open(library: Path) -> ctypes.CDLL:
    """Load a file that is this user's alone: what is looked at is what is loaded.

    Raises:
        OSError: it is not there, or others could have written it.
        Unavailable: it is no library for this machine.
    """
    descriptor = os.open(library, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    status = os.fstat(descriptor)
    if (
        not stat.S_ISREG(status.st_mode)
        or status.st_uid != os.getuid()
        or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    ):
        os.close(descriptor)
        raise PermissionError(f"{library}: others may write it")
    try:
        # left open: the loader takes a second library under the same name for the first
        return ctypes.CDLL(f"/proc/self/fd/{descriptor}")
    except OSError as fault:
        os.close(descriptor)
        raise Unavailable(f"the compiled kernel cannot be loaded: {fault}") from fault


def _compiler() -> list[str]:
    """`$CC`, which may carry options, else gcc or cc."""
    given = shlex.split(os.environ.get("CC", ""))
    for command in (given, ["gcc"], ["cc"]):
        found = shutil.which(command[0]) if command else None
        if found:
            return [found, *command[1:]]
    raise Unavailable("there is no C compiler (gcc)")


def _key(source: Path, compiler: list[str], macros: list[str]) -> str:
    version = subprocess.run(
        [*compiler, "--version"], capture_output=True, text=True, check=False
    ).stdout
    read = [source, *sorted(source.parent.glob("*.h"))]
    parts = [
        *(path.read_text(encoding="utf-8") for path in read),
        version,
        processor(),
        *compiler,
        *macros,
    ]
    return hashlib.sha256("\0".join([*parts, *OPTIONS]).encode()).hexdigest()[:16]


def processor() -> str:
    """What `-march=native` goes by: the processor's model and instructions (Linux)."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    starts = ("vendor_id", "cpu family", "model\t", "flags", "Features", "CPU part")
    return "\n".join([platform.machine(), *sorted({ln for ln in lines if ln.startswith(starts)})])


def has_bfloat16() -> bool:
    """Whether the processor has products of bfloat16 (AVX512_BF16)."""
    return "avx512_bf16" in processor()


def _share_openmp() -> None:
    """Make the symbols of the OpenMP library that PyTorch has loaded visible to ours."""
    if sys.platform != "linux":
        raise Unavailable("it has been tried on Linux alone")
    maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="surrogateescape")
    for line in maps.split("\n"):
        # five fields, then the path, which may hold spaces (proc_pid_maps(5))
        path = line.split(maxsplit=5)[5:]
        if path and Path(path[0]).name.startswith(("libgomp", "libiomp")):
            ctypes.CDLL(path[0], ctypes.RTLD_GLOBAL)
            return
    raise Unavailable("PyTorch's threads are not OpenMP's")
