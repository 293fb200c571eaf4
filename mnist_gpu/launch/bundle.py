"""A bundle for a place without internet: the wheels it lacks, MNIST, and the bootstrap file.

Kept flat, because a platform's data sets mount without their folders. Frameworks are left to the
platform: their wheels weigh gigabytes and would replace the build made for its hardware.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from packaging.requirements import Requirement

from mnist_gpu.errors import UserError
from mnist_gpu.launch import entry, payload
from mnist_gpu.launch.payload import CHECKOUT

# never bundled: torch, TensorFlow and what only they need
LEFT_TO_THE_PLATFORM = re.compile(
    "torch|torchvision|triton|tensorflow|keras|jax|jaxlib|numpy|mlx|(nvidia-c|nvidia-n|cuda-).*"
)
# published as source only; pure Python, so its wheel can be built here
SOURCE_ONLY = ("antlr4-python3-runtime",)
PYTHONS = ("3.12", "3.13")
PIP = [sys.executable, "-m", "pip"]
# with what this environment holds: nothing is fetched to build with
BUILD = [*PIP, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w"]
PLATFORM_TAGS = ("manylinux_2_28_x86_64", "manylinux2014_x86_64", "manylinux_2_17_x86_64")


def main(argv: list[str] | None = None) -> int:
    """Command line of `scripts/make_bundle.py`."""
    parser = argparse.ArgumentParser(
        prog="scripts/make_bundle.py", description=__doc__, allow_abbrev=False
    )
    add = parser.add_argument
    add("--out", type=Path, default=Path("build/mnist-gpu-bundle.zip"), help="zip or folder")
    add("--mnist", type=Path, help="folder of the four IDX files (or $MNIST_GPU_DATA)")
    add("--python", action="append", help="the platform's Python, more than once for several (3.12"
        " and 3.13: Kaggle's and Colab's)")  # fmt: skip
    add("--no-dependencies", action="store_true", help="only the project's wheel and MNIST")
    add("--dry-run", action="store_true", help="say what would be put together")
    chosen = parser.parse_args(argv)
    mnist = chosen.mnist or Path(os.environ.get("MNIST_GPU_DATA", ""))
    files = sorted(mnist.glob("*-ubyte*")) if str(mnist) != "." else []
    if len(files) != 4:
        raise UserError(
            f"--mnist {chosen.mnist or ''}: name the folder that holds the four IDX files of MNIST"
        )
    pythons = [] if chosen.no_dependencies else chosen.python or PYTHONS
    if os.path.lexists(chosen.out) and (not chosen.out.is_dir() or any(chosen.out.iterdir())):
        raise UserError(f"--out {chosen.out}: is there already; remove it, or name another")
    entry.check_folder(chosen.out.parent)
    if chosen.dry_run:
        print(f"wheel of {CHECKOUT.name}, wheels for Python {' and '.join(pythons) or '-'}, but no"
              " framework,")  # fmt: skip
        print(f"{', '.join(path.name for path in files)}\n-> {chosen.out}")
        return 0
    make(chosen.out, files, pythons)
    print(f"bundle: {chosen.out}")
    return 0


def make(out: Path, mnist: list[Path], pythons: Sequence[str]) -> None:
    """Put a bundle of the four MNIST files and, for each version of `pythons`, its wheels into a
    zip, if `out` ends so, or a folder that is not there yet.

    Raises:
        UserError: pip is missing, or a wheel cannot be had.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        # the project's own wheel, of this checkout
        _do([*BUILD, str(folder), str(CHECKOUT)])
        for python in pythons:
            _fetch(folder, python)
        # what shows the result is for a notebook
        for path in (*mnist, CHECKOUT / "scripts" / "bootstrap_show.py"):
            shutil.copyfile(path, folder / path.name)
        (folder / "bootstrap.py").write_text(payload.bootstrap(), encoding="utf-8")
        files = sorted(folder.iterdir())
        # a platform's upload may cut a file off: what arrives is checked before it is installed
        sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
        manifest = {"commit": payload.commit(), "sha256": sums}
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        _deliver(folder, out)


def _fetch(folder: Path, python: str) -> None:
    """The wheels of the lock that apply on Linux x86-64 under that Python, by their hashes."""
    target = {
        **{"python_version": python, "python_full_version": f"{python}.0"},
        **{"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"},
        **{"implementation_name": "cpython", "platform_python_implementation": "CPython"},
    }
    kept: list[str] = []
    built: list[str] = []
    text = (CHECKOUT / "locks" / "base.txt").read_text(encoding="utf-8")
    for block in re.findall(r"^[^#\s].*\n(?:\s.*\n)*", text, re.M):
        wanted = Requirement(block.split("\n")[0].rstrip(" \\"))
        applies = wanted.marker is None or wanted.marker.evaluate(target)
        if applies and not LEFT_TO_THE_PLATFORM.fullmatch(wanted.name):
            # what it says of the machine was judged for the platform, not for this one
            plain = re.sub(r" ; .*(?= \\\n)", "", block, count=1)
            (built if wanted.name in SOURCE_ONLY else kept).append(plain)
    for lines, command in (
        (built, [*BUILD, str(folder)]),
        (kept, [*PIP, "download", "--quiet", "--no-deps", "--only-binary=:all:", "--python-version",
                python, *(f"--platform={tag}" for tag in PLATFORM_TAGS), "-d", str(folder)]),
    ):  # fmt: skip
        locked = folder / "locked.txt"
        locked.write_text("".join(lines), encoding="utf-8")
        _do([*command, "--require-hashes", "-r", str(locked)])
        locked.unlink()


def _deliver(folder: Path, out: Path) -> None:
    # it took minutes since `out` was looked at: what came there meanwhile is not ours either
    if out.suffix == ".zip":
        out.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(out, "x", zipfile.ZIP_STORED) as archive:
            for path in sorted(folder.iterdir()):
                archive.write(path, path.name)
        return
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        raise UserError(f"--out {out}: holds something by now; name another")
    for path in sorted(folder.iterdir()):
        with (out / path.name).open("xb") as copy:
            copy.write(path.read_bytes())


def _do(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        if "No module named pip" in done.stderr:
            raise UserError("this Python has no pip: scripts/make_bundle.py brings one")
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise UserError(f"{' '.join(command[1:4])}: {(lines or ['failed'])[-1].strip()[:300]}")
