"""Where this program keeps what it ships."""

from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parent


def conf_dir() -> Path:
    """The folder `conf/`: inside the package in a wheel, beside it in a checkout."""
    packed = PACKAGE / "conf"
    return packed if packed.is_dir() else PACKAGE.parent / "conf"


def choices(group: str) -> list[str]:
    """The names one may choose in a group of `conf/`; none for what is no group."""
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))


@cache
def packaged(path: str) -> Any:
    """A YAML file of the package, named without its ending, as plain values; read only."""
    return table(PACKAGE / f"{path}.yaml")


@cache
def shipped(path: str) -> Any:
    """A file of `conf/` likewise, such as `engine/lightning`, without Hydra; read only."""
    return table(conf_dir() / f"{path}.yaml")


def table(path: Path) -> Any:
    """A YAML file as plain values."""
    import yaml

    text = path.read_text(encoding="utf-8")
    # libyaml gives the same in a tenth of the time, where PyYAML was built with it
    return yaml.load(text, yaml.CSafeLoader) if yaml.__with_libyaml__ else yaml.safe_load(text)
