"""Ctrl-C, SIGTERM and SIGHUP end a run in good order; a second one ends it at once."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

GRACEFUL = ("SIGINT", "SIGTERM", "SIGHUP")


@contextmanager
def noted(note: Callable[[int], None]) -> Iterator[None]:
    """Within the block, hand the first signal's number to `note` and let the next one kill.

    Outside the main thread nothing changes: Python delivers signals to the main thread alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in GRACEFUL if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}

    def first(signum: int, frame: FrameType | None) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
        note(signum)

    for number in numbers:
        # nohup's ignored SIGHUP stays ignored
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, first)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
