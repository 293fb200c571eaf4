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
from pathlib import Path

from mnist_gpu.data.mnist import default_cache

OPTIONS = ("-O3", "-march=native", "-std=gnu11", "-fPIC", "-fopenmp")
COMPILE_S = 60


class Unavailable(Exception):
    """There can be no kernel here; the message says why."""


def load(source: Path, definitions: Mapping[str, str | int]) -> ctypes.CDLL:
    """The library made from `source` with these macros, from the cache or compiled now (a second).

    What is kept is found again by source, macros, compiler and processor: a cache may be shared by
    machines. A cache that cannot be written, or a file in it that others could have, is no error.

    Raises:
        Unavailable: not Linux, no compiler, or one that cannot compile this.
    """
    _share_openmp()
    compiler = _compiler()
    macros = [f"-D{name}={value}" for name, value in definitions.items()]
    kept = default_cache() / "kernels" / f"{source.stem}-{_key(source, compiler, macros)}.so"
    if _ours(kept):
        try:
            return _open(kept)
        except Unavailable:
            kept.unlink(missing_ok=True)
    compile_it = [*compiler, *macros, *OPTIONS]
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        return _compile(source, compile_it, kept.parent, kept)
    except OSError:
        with tempfile.TemporaryDirectory() as folder:
            return _compile(source, compile_it, Path(folder), kept)


def _compile(source: Path, command: list[str], folder: Path, kept: Path) -> ctypes.CDLL:
    """Compile in `folder`, load, and leave the library there if `kept` is in it. Two runs may start
    at once: each has its own file and renames it into place."""
    # not a name that this process has loaded already: the loader would give that library again
    unlinked = folder / f".{kept.stem}.{os.getpid()}.o"
    library = unlinked.with_suffix(".so")
    try:
        _run([*command, "-c", str(source), "-o", str(unlinked)])
        # linked without OpenMP: its symbols are those of the library that PyTorch brought
        _run([command[0], "-shared", str(unlinked), "-o", str(library), "-lm"])
        loaded = _open(library)
        library.chmod(0o755)
        library.replace(folder / kept.name)
        return loaded
    finally:
        unlinked.unlink(missing_ok=True)
        library.unlink(missing_ok=True)


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
    try:
        return ctypes.CDLL(str(library))
    except OSError as fault:
        raise Unavailable(f"the compiled kernel cannot be loaded: {fault}") from fault


def _ours(library: Path) -> bool:
    """Whether it is there and nobody else could have written it: it is code."""
    try:
        status = library.stat()
    except OSError:
        return False
    return status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


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
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        if Path(line.split()[-1]).name.startswith(("libgomp", "libiomp")):
            ctypes.CDLL(line.split()[-1], ctypes.RTLD_GLOBAL)
            return
    raise Unavailable("PyTorch's threads are not OpenMP's")
