"""Objects of the classes that a configuration names by `_target_`."""

import inspect
from collections.abc import Mapping
from typing import Any

from hydra.errors import HydraException
from hydra.utils import get_method, instantiate

from mnist_gpu.config.words import near
from mnist_gpu.errors import UserError

LONGEST = 200


def make(node: Mapping[str, Any], where: str, **given: Any) -> Any:
    """What `hydra.utils.instantiate` makes of `node`.

    Args:
        node: `_target_` and the class's arguments.
        where: the key at which it stands, such as `callbacks.early_stopping`.
        given: further arguments, which a configuration cannot name.

    Raises:
        UserError: there is no such class, it has no such argument, or it refuses one.
    """
    target = str(node["_target_"])
    try:
        known = inspect.signature(get_method(target)).parameters
    except (ValueError, TypeError):
        known = {}  # type: ignore[assignment]
    except Exception as exc:
        raise UserError(f"{where}._target_={target}: {_why(exc)}") from None
    takes_any = not known or any(one.kind is one.VAR_KEYWORD for one in known.values())
    for key in node:
        if key not in known and not key.startswith("_") and not takes_any:
            last = target.rpartition(".")[2]
            raise UserError(f"{where}.{key}: {last} has no such argument{near(key, known)}")
    try:
        return instantiate(dict(node), **given)
    except HydraException as exc:
        raise UserError(f"{where}: {target} refused: {_why(exc)}") from None


def _why(exc: BaseException) -> str:
    while exc.__cause__ is not None:
        exc = exc.__cause__
    return f"{type(exc).__name__}: {' '.join(str(exc).split())}"[:LONGEST]
