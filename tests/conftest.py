"""What every test may ask for."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """The folder with the four MNIST files."""
    folder = os.environ.get("MNIST_GPU_DATA")
    if not folder:
        pytest.skip("set MNIST_GPU_DATA to a folder with the four MNIST files")
    return Path(folder)
