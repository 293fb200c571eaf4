"""How a training ended: whatever ends it early becomes a status, a reason and an exit code."""

import logging
from collections.abc import Callable
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
    except Interrupted as fault:
        outcome = _interrupted(fault.signum)
    except KeyboardInterrupt:
        outcome = Outcome("interrupted", "Ctrl-C", SIGNALLED + 2)
    except SystemExit:
        outcome = Outcome("failed", "the framework ended the run", 1)
    except Diverged as fault:
        outcome = Outcome("diverged", str(fault), 1)
    except Exception as fault:  # frameworks raise their own kinds
        log.debug("training failed", exc_info=True)
        outcome = Outcome("failed", failure(fault), 1)
    if outcome.status == "failed":
        # a lost device cannot be waited for
        timeline.stopwatch.synchronise = no_device
    if outcome.status != "completed":
        timeline.abandoned()
    try:
        timeline.ended()
    except Exception as fault:
        if outcome.status == "completed":
            outcome = Outcome("failed", failure(fault), 1)
    return outcome


def failure(fault: BaseException) -> str:
    """Say in one line what ended a run."""
    text = " ".join(str(fault).split())
    if isinstance(fault, MemoryError) or any(sign in text.lower() for sign in OUT_OF_MEMORY):
        return f"out of memory: {text or type(fault).__name__}"[:LONGEST_REASON]
    if isinstance(fault, RuntimeError) and any(sign in text.lower() for sign in LOST_PROCESS):
        return f"another process of this run was lost: {text}"[:LONGEST_REASON]
    if isinstance(fault, OSError) and fault.strerror:
        return fault.strerror.lower()
    if isinstance(fault, (UserError, RuntimeError, ValueError)) and text:
        return text[:LONGEST_REASON]
    return f"{type(fault).__name__}: {text} (hydra.verbose=true shows where)"[:LONGEST_REASON]


def _interrupted(signum: int) -> Outcome:
    return Outcome("interrupted", f"signal {signum}", SIGNALLED + signum)
