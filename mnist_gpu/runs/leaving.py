"""The end of the process."""

import atexit
import os
import sys
from contextlib import suppress
from typing import NoReturn


def leave(code: int) -> NoReturn:
    """End the process now: taking the frameworks' modules apart would take seconds that no clock
    of ours sees, and give nothing back."""
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        # a stream that was closed when Python started is None
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)
