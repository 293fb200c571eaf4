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
def shipped(path: str) -> dict[str, Any]:
    """A file of `conf/` as plain values, without Hydra; read only.

    Args:
        path: without its ending, such as `engine/lightning`.
    """
    found: dict[str, Any] = table(conf_dir() / f"{path}.yaml")
    return found


def table(path: Path) -> Any:
    """A YAML file of the package as plain values; read only."""
    import yaml

    return yaml.safe_load(path.read_text(encoding="utf-8"))
