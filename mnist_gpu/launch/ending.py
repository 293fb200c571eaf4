"""How a launch ends when it is told to: what was started elsewhere is given back first."""

import contextlib
import signal
import types
from collections.abc import Iterator
from typing import Any

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def signals_as_ctrl_c() -> Iterator[None]:
    """A closed terminal or a polite kill raises KeyboardInterrupt, as Ctrl-C does."""

    def interrupt(signum: int, frame: types.FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handled(interrupt):
        yield


@contextlib.contextmanager
def ctrl_c_ignored() -> Iterator[None]:
    """While something is being given back, nothing may stop that."""
    with _handled(signal.SIG_IGN):
        yield


@contextlib.contextmanager
def _handled(handler: Any) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in ENDING}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
