"""A method of one object, run inside a context manager until further notice."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any


def around(
    owner: object, name: str, context: Callable[[], AbstractContextManager[Any]]
) -> Callable[[], None]:
    """Run every call of `owner.name` inside a fresh `context()`; return what ends that.

    Only this object changes, not its class. Somebody else's replacement, below ours or put on top
    of it since, stays.
    """
    original = getattr(owner, name)
    below = vars(owner).get(name)
    active = True

    @wraps(original)
    def method(*args: Any, **kwargs: Any) -> Any:
        if not active:
            return original(*args, **kwargs)
        with context():
            return original(*args, **kwargs)

    def restore() -> None:
        nonlocal active
        active = False
        if vars(owner).get(name) is not method:
            return
        if below is None:
            delattr(owner, name)
        else:
            setattr(owner, name, below)

    setattr(owner, name, method)
    return restore
