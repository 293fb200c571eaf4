"""What belongs to the whole process: its signals, its environment variables, its end."""

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

# Ctrl-C, a polite kill, a closed terminal (not on Windows)
ASKING = ("SIGINT", "SIGTERM", "SIGHUP")
GRACEFUL = [getattr(signal, name) for name in ASKING if hasattr(signal, name)]


@contextmanager
def noted(note: Callable[[int], None]) -> Iterator[None]:
    """Within the block, hand the first signal's number to `note` and let the next one kill.

    Ctrl-C, SIGTERM and SIGHUP are noted; in a Slurm job SIGUSR2 too, which says that the job's time
    is nearly up. Outside the main thread nothing changes: Python delivers signals to it alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [*GRACEFUL, signal.SIGUSR2] if "SLURM_JOB_ID" in os.environ else GRACEFUL
    # nohup's ignored SIGHUP stays ignored
    ours = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]

    def handler(signum: int, frame: FrameType | None) -> None:
        # a call into a framework may last: the next signal must not wait for Python
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
        note(signum)

    with handled(ours, handler):
        yield


@contextmanager
def handled(numbers: Iterable[int], by: Any) -> Iterator[None]:
    """Within the block, have signals handled by a function, or by `signal.SIG_IGN`."""
    before = {number: signal.signal(number, by) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            # None: installed by a host program in C, and not ours to give back
            signal.signal(number, signal.SIG_DFL if earlier is None else earlier)


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Within the block, set environment variables; put back at its end what was there."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def leave(code: int) -> NoReturn:
    """End the process now: taking the frameworks' modules apart would take seconds that no clock
    of ours sees, and give nothing back."""
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        # a stream that was closed when Python started is None
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)
