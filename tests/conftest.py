"""What every test may ask for."""

import os
import signal
from pathlib import Path

import pytest

# what is sent to the background, or started by nohup, ignores these, and so do its children
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """The folder with the four MNIST files."""
    folder = os.environ.get("MNIST_GPU_DATA")
    if not folder:
        pytest.skip("set MNIST_GPU_DATA to a folder with the four MNIST files")
    return Path(folder)
