"""Ctrl-C, SIGTERM and SIGHUP end a run in good order; a second one ends it at once.

In a Slurm job SIGUSR2 does so too: it announces that the job's time is nearly up.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

GRACEFUL = ("SIGINT", "SIGTERM", "SIGHUP")
TIME_NEARLY_UP = "SIGUSR2"


@contextmanager
def noted(note: Callable[[int], None]) -> Iterator[None]:
    """Within the block, hand the first signal's number to `note` and let the next one kill.

    Outside the main thread nothing changes: Python delivers signals to the main thread alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = (*GRACEFUL, TIME_NEARLY_UP) if "SLURM_JOB_ID" in os.environ else GRACEFUL
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    # nohup's ignored SIGHUP stays ignored
    before = {n: signal.getsignal(n) for n in numbers if signal.getsignal(n) != signal.SIG_IGN}

    def handler(signum: int, frame: FrameType | None) -> None:
        # a call into a framework may last: the next signal must not wait for Python
        for number in before:
            signal.signal(number, signal.SIG_DFL)
        note(signum)

    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, earlier in before.items():
            # None: installed by a host program in C, and not ours to give back
            signal.signal(number, signal.SIG_DFL if earlier is None else earlier)
