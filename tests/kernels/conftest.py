"""A compiler, and a cache without kernels.

tests/system_packages.sh installs gcc where it can.
"""

import subprocess
from pathlib import Path

import pytest

from mnist_gpu.engines.torch.kernels import kernel


@pytest.fixture(autouse=True, scope="session")
def gcc():
    script = Path(__file__).parents[1] / "system_packages.sh"
    done = subprocess.run(
        ["bash", str(script), "compiler"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def afresh(monkeypatch, tmp_path):
    """No kernel found yet and none kept."""
    kernel.get_kernel.cache_clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    yield tmp_path / "mnist_gpu" / "kernels"
    kernel.get_kernel.cache_clear()
