"""The trio, small, and a quiet Trainer: what a test of them asks for."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import lightning.pytorch as L
import pytest

from mnist_gpu import MNISTDataModule, TimingCallback
from tests.any_trainer.trainers import quiet, small


@pytest.fixture
def data(mnist_dir: Path) -> MNISTDataModule:
    """The first images of MNIST."""
    return small(mnist_dir)


@pytest.fixture
def trainer(tmp_path: Path) -> Callable[..., L.Trainer]:
    """Makes a Trainer that writes nothing but below the test's own folder."""
    return partial(quiet, tmp_path)


@pytest.fixture
def timing() -> TimingCallback:
    """A callback with the real clock."""
    return TimingCallback()
