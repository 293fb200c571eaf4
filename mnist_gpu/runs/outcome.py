"""How a training ended: whatever ends it early becomes a status, a reason and an exit code."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mnist_gpu.errors import UserError
from mnist_gpu.records.schema import Status
from mnist_gpu.timing.stopwatch import no_device
from mnist_gpu.timing.timeline import Diverged, Interrupted, Timeline

log = logging.getLogger(__name__)

# the shell's convention: a process ended by signal N exits with 128 + N
SIGNALLED = 128
LONGEST_REASON = 300
OUT_OF_MEMORY = ("out of memory", "cannot allocate memory", "resource_exhausted")
# what Gloo and NCCL say when a process that trains along is gone
LOST_PROCESS = ("connection closed by peer", "connection reset by peer", "broken pipe", "nccl")


@dataclass(frozen=True)
class Outcome:
    """How training ended: the record's `status` and `status_reason`, and the exit code.

    A run that was already complete when a signal came is `completed` and exits as the signal asks.
    """

    status: Status = "completed"
    reason: str | None = None
    exit_code: int = 0

    @property
    def line(self) -> str:
        """What the user is told."""
        return f"{self.status}: {self.reason or 'a signal came when nothing was left to do'}"


def guarded(work: Callable[[], None], timeline: Timeline) -> Outcome:
    """Run `work`; whatever ends it early becomes an outcome, and no finished epoch is lost."""
    outcome = Outcome()
    try:
        work()
    except Interrupted as exc:
        outcome = Outcome("interrupted", str(exc), SIGNALLED + exc.signum)
    except KeyboardInterrupt:
        outcome = Outcome("interrupted", "Ctrl-C", SIGNALLED + 2)
    except SystemExit:
        outcome = Outcome("failed", "the framework ended the run", 1)
    except Diverged as exc:
        outcome = Outcome("diverged", str(exc), 1)
    except Exception as exc:  # frameworks raise their own kinds
        log.debug("training failed", exc_info=True)
        outcome = Outcome("failed", failure(exc), 1)
    if outcome.status == "failed":
        # a lost device cannot be waited for
        timeline.stopwatch.synchronise = no_device
    if outcome.status != "completed":
        timeline.abandoned()
    try:
        timeline.ended()
    except Exception as exc:
        if outcome.status == "completed":
            outcome = Outcome("failed", failure(exc), 1)
    return outcome


@contextmanager
def failing_in_a_line() -> Iterator[None]:
    """Within the block, frameworks' exceptions become a UserError of one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as exc:  # frameworks raise their own kinds
        log.debug("not to be trained", exc_info=True)
        raise UserError(f"failed: {failure(exc)}") from None


def failure(exc: BaseException) -> str:
    """Say in one line what ended a run."""
    text = " ".join(str(exc).split())
    if isinstance(exc, MemoryError) or any(sign in text.lower() for sign in OUT_OF_MEMORY):
        line = f"out of memory: {text or type(exc).__name__}"
    elif isinstance(exc, RuntimeError) and any(sign in text.lower() for sign in LOST_PROCESS):
        line = f"another process of this run was lost: {text}"
    elif isinstance(exc, OSError) and exc.strerror:
        line = exc.strerror.lower()
    elif isinstance(exc, (UserError, RuntimeError, ValueError)) and text:
        line = text
    else:
        line = f"{type(exc).__name__}: {text} (hydra.verbose=true shows where)"
    return line[:LONGEST_REASON]
