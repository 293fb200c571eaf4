"""Where this program keeps what it ships."""

from functools import cache
from pathlib import Path
from typing import Any

from mnist_gpu.errors import UserError

PACKAGE = Path(__file__).resolve().parent


def conf_dir() -> Path:
    """The folder `conf/`: inside the package in a wheel, beside it in a checkout."""
    packed = PACKAGE / "conf"
    return packed if packed.is_dir() else PACKAGE.parent / "conf"


def choices(group: str) -> list[str]:
    """The names one may choose in a group of `conf/`; none for what is no group."""
    # what editors and macOS leave beside a file begins with a dot
    return sorted(path.stem for path in (conf_dir() / group).glob("[!.]*.yaml"))


@cache
def packaged(path: str) -> Any:
    """A YAML file of the package, named without its ending, as plain values; read only."""
    return table(PACKAGE / f"{path}.yaml")


@cache
def shipped(path: str) -> Any:
    """A file of `conf/` likewise, such as `engine/lightning`, without Hydra; read only.

    Raises:
        UserError: a user has made it, and it is no YAML, or holds no keys.
    """
    import yaml

    file = conf_dir() / f"{path}.yaml"
    try:
        found = table(file)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise UserError(f"{file}: cannot be read as YAML ({' '.join(str(exc).split())})") from None
    if not isinstance(found, dict):
        raise UserError(f"{file}: holds no keys")
    return found


def table(path: Path) -> Any:
    """A YAML file as plain values."""
    import yaml

    text = path.read_text(encoding="utf-8")
    # libyaml gives the same in a tenth of the time, where PyYAML was built with it
    return yaml.load(text, yaml.CSafeLoader) if yaml.__with_libyaml__ else yaml.safe_load(text)
