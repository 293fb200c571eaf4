"""Python's search for reference cycles, left out where there are none to be found."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

MANY = 10_000  # objects


@contextmanager
def no_collection() -> Iterator[None]:
    """Switch the cyclic garbage collector off, and on again if it was on.

    What was made meanwhile is old then: the next collections do not search it all at once.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            # few are soon searched; to count what is frozen may take longer
            if gc.get_count()[0] > MANY and not gc.get_freeze_count():
                gc.freeze()
                gc.unfreeze()  # into the oldest generation
            gc.enable()
