"""What the tests of faults share: a run of a second, in a folder of its own."""

import subprocess
from pathlib import Path

import pytest

from mnist_gpu import engines


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # a test replaces it; put back afterwards
    monkeypatch.setattr(engines, "find", engines.find)
    return tmp_path


@pytest.fixture
def quick(here, digits) -> list[str]:
    return ["platform=cpu", "engine=torch", "model=mlp", "epochs=3", *digits]


@pytest.fixture
def mount(here):
    """Mounts a small file system; skips where that is not allowed."""
    mounted = []

    def make(name: str, options: str) -> Path:
        folder = here / name
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            pytest.skip("this machine does not let us mount a file system")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=False)
