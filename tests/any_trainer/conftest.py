"""The trio, small, and a quiet Trainer: what a test of them asks for."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from unittest import mock

import lightning.pytorch as L
import pytest
import torch

from mnist_gpu import MNISTDataModule, TimingCallback
from tests.any_trainer.trainers import quiet, small


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """A Trainer sets what holds for the whole process: `deterministic=True` does, and a variable
    of the environment with it."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    with mock.patch.dict(os.environ):
        yield
    torch.use_deterministic_algorithms(deterministic)


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
