"""Clocks that move only as a test says."""

from pathlib import Path

import pytest

from tests.timing.clock import FakeClock
from tests.timing.scripted_fit import World


@pytest.fixture
def clock() -> FakeClock:
    """Nanoseconds that pass when told to."""
    return FakeClock()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """The clock and the device of a scripted fit."""
    return World(tmp_path, monkeypatch)
