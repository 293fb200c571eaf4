"""A compiler, and a cache without kernels.

tests/system_packages.sh installs gcc where it can.
"""

import pytest

from mnist_gpu.engines.torch.kernels import kernel
from tests.packages import why_not


@pytest.fixture(autouse=True, scope="session")
def gcc():
    lacking = why_not("compiler")
    assert not lacking, lacking


@pytest.fixture
def afresh(monkeypatch, tmp_path):
    """No kernel found yet and none kept."""
    kernel.get_kernel.cache_clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    yield tmp_path / "mnist_gpu" / "kernels"
    kernel.get_kernel.cache_clear()
