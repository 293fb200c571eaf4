"""Settings as the command line makes them, and the one line that a wrong one is answered with."""

import pytest

from mnist_gpu.config.compose import (
    check,
    compose_config,
)
from mnist_gpu.config.settings import Settings
from mnist_gpu.errors import UserError


def refusal(*overrides: str) -> str:
    with pytest.raises(UserError) as refused:
        check(compose_config(overrides))
    line = str(refused.value)
    assert "\n" not in line
    assert "unexpected" not in line
    return line


def settings(*overrides: str) -> Settings:
    return check(compose_config(overrides))
