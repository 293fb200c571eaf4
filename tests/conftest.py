"""What every test may ask for."""

import os
import signal
from pathlib import Path

import pytest

# a shell starts what it sends to the background with Ctrl-C ignored, and children inherit that
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """The folder with the four MNIST files."""
    folder = os.environ.get("MNIST_GPU_DATA")
    if not folder:
        pytest.skip("set MNIST_GPU_DATA to a folder with the four MNIST files")
    return Path(folder)
