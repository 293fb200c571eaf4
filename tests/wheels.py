"""The project's wheel, built from the checkout with what there is: pip, or uv."""

import shutil
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]


def build_wheel(folder: Path) -> Path:
    """Build into `folder`; skips where no registry is within reach."""
    # not find_spec: looking for pip's module takes setuptools' distutils out of this process
    if any(distributions(name="pip")):
        command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder)]
    elif shutil.which("uv"):
        command = ["uv", "build", "-q", "--wheel", "-o", str(folder)]
    else:
        pytest.skip("needs pip or uv")
    done = subprocess.run([*command, str(CHECKOUT)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the wheel cannot be built here: {done.stderr.strip()[-200:]}")
    [wheel] = folder.glob("*.whl")
    return wheel
