"""A bundle for a place without internet: the wheels it lacks, MNIST, and the bootstrap file.

Kept flat, because a platform's data sets mount without their folders. Frameworks are left to the
platform: their wheels weigh gigabytes and would replace the build made for its hardware.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from packaging.requirements import Requirement

from mnist_gpu.errors import UserError
from mnist_gpu.launch import payload
from mnist_gpu.launch.payload import CHECKOUT

# never bundled: torch, TensorFlow and what only they need
LEFT_TO_THE_PLATFORM = (
    "torch", "torchvision", "triton", "tensorflow", "keras", "jax", "jaxlib", "numpy", "mlx",
)  # fmt: skip
# published as source only; pure Python, so its wheel can be built here
SOURCE_ONLY = ("antlr4-python3-runtime",)
PLATFORM_TAGS = ("manylinux_2_28_x86_64", "manylinux2014_x86_64", "manylinux_2_17_x86_64")


def main(argv: list[str] | None = None) -> int:
    """Command line of `scripts/make_bundle.py`."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("--out", type=Path, default=Path("build/mnist-gpu-bundle.zip"), help="zip or folder")
    add("--mnist", type=Path, help="folder of the four IDX files (or $MNIST_GPU_DATA)")
    add("--python", default="3.12", help="the platform's Python (3.12)")
    add("--no-dependencies", action="store_true", help="only the project's wheel and MNIST")
    add("--dry-run", action="store_true", help="say what would be put together")
    chosen = parser.parse_args(argv)
    mnist = chosen.mnist or Path(os.environ.get("MNIST_GPU_DATA", ""))
    files = sorted(mnist.glob("*-ubyte*")) if str(mnist) != "." else []
    if len(files) != 4:
        raise UserError(f"--mnist {mnist}: the four IDX files of MNIST are not there")
    if chosen.dry_run:
        print(f"wheel of {CHECKOUT.name}, wheels for Python {chosen.python} but no framework,")
        print(f"{', '.join(path.name for path in files)}\n-> {chosen.out}")
        return 0
    make(chosen.out, files, None if chosen.no_dependencies else chosen.python)
    print(f"bundle: {chosen.out}")
    return 0


def make(out: Path, mnist: list[Path], python: str | None) -> None:
    """Put a bundle together.

    Args:
        out: a zip if it ends so, else a folder; replaced.
        mnist: the four files.
        python: version whose wheels to fetch, None for none at all.

    Raises:
        UserError: pip is missing, or a wheel cannot be had.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _do([*_pip(), "wheel", "--quiet", "--no-deps", "-w", str(folder), str(CHECKOUT)])
        if python:
            _fetch(folder, python)
        for path in mnist:
            shutil.copyfile(path, folder / path.name)
        (folder / "bootstrap.py").write_text(payload.bootstrap(), encoding="utf-8")
        files = sorted(folder.iterdir())
        sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
        manifest = {"commit": payload.commit(), "sha256": sums}
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        _deliver(folder, out)


def _fetch(folder: Path, python: str) -> None:
    lines = folder / "requirements.txt"
    pip = _pip()
    kept = []
    for requirement in _locked(python):
        if requirement.name in SOURCE_ONLY:
            _do([*pip, "wheel", "--quiet", "--no-deps", "-w", str(folder), str(requirement)])
        elif not _is_framework(requirement.name):
            kept.append(f"{requirement.name}{requirement.specifier}")
    lines.write_text("\n".join(kept) + "\n", encoding="utf-8")
    command = [*pip, "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", python, "-d", str(folder)]
    for tag in PLATFORM_TAGS:
        command += ["--platform", tag]
    _do([*command, "-r", str(lines)])
    lines.unlink()


def _locked(python: str) -> list[Requirement]:
    """The locked packages that apply on Linux x86-64 under that Python."""
    text = (CHECKOUT / "locks" / "base.txt").read_text(encoding="utf-8")
    pins = [line.rstrip(" \\") for line in text.splitlines() if "==" in line.split("#")[0]]
    target = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    found = []
    for requirement in map(Requirement, pins):
        if requirement.marker is None or requirement.marker.evaluate(target):
            requirement.marker = None
            found.append(requirement)
    return found


def _pip() -> list[str]:
    """pip, which an environment made by uv does not hold."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    if shutil.which("uv"):
        return ["uv", "tool", "run", "--quiet", "pip"]
    raise UserError("pip is missing: python -m ensurepip, or install uv")


def _is_framework(name: str) -> bool:
    return name in LEFT_TO_THE_PLATFORM or name.startswith(("nvidia-c", "nvidia-n", "cuda-"))


def _deliver(folder: Path, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix != ".zip":
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(folder, out)
        return
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, path.name)


def _do(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise UserError(f"{' '.join(command[:4])}: {(lines or ['failed'])[-1].strip()[:300]}")
