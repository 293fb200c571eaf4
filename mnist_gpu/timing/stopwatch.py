"""The clock of the protocol: exclusive phases that add up to the whole by construction."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

PHASES = ("startup", "data", "build", "warmup", "train", "eval", "checkpoint", "other")
NANOSECONDS_PER_SECOND = 1_000_000_000


def no_device() -> None:
    """Synchronise nothing: the work is done when the call returns."""


class Stopwatch:
    """Credits every nanosecond since it was made to exactly one phase.

    Switching phase first waits for the device, then reads the clock once: the same instant ends
    one phase and begins the next, so nothing is counted twice or lost. Totals are kept as integer
    nanoseconds, so that their sum is exact.

    Args:
        clock_ns: a monotonic clock in nanoseconds.
        synchronise: returns once the device has finished its work. Engines replace it when they
            know their device.
        phase: the phase that is running at the start.
    """

    def __init__(
        self,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
        synchronise: Callable[[], None] = no_device,
        phase: str = "startup",
    ) -> None:
        self.clock_ns = clock_ns
        self.synchronise = synchronise
        self.phase = _known(phase)
        self._since_ns = clock_ns()
        self._totals_ns = dict.fromkeys(PHASES, 0)

    def carry(self, carried_ns: Mapping[str, int]) -> None:
        """Add the totals of earlier segments (a resumed run)."""
        for phase, elapsed_ns in carried_ns.items():
            self._totals_ns[_known(phase)] += int(elapsed_ns)

    def enter(self, phase: str, wait: bool = True) -> str:
        """Wait for the device, end the running phase, begin `phase`; return the phase left.

        With `wait=False` only the clock is read: for host work that must not hold up the device.
        """
        _known(phase)
        if wait:
            self.synchronise()
        self._credit()
        left, self.phase = self.phase, phase
        return left

    @contextmanager
    def during(self, phase: str, then: str | None = None, wait: bool = True) -> Iterator[None]:
        """Run a block in `phase`, then go to phase `then` (default: the one before it).

        An exception leaves the block the same way. If waiting for the device fails as well, as on
        a GPU that is lost, that second failure is dropped: the first says what happened.
        """
        before = self.enter(phase, wait)
        try:
            yield
        except BaseException:
            if wait:
                with suppress(Exception):
                    self.synchronise()
            self.enter(then or before, wait=False)
            raise
        self.enter(then or before, wait)

    def move(self, source: str, target: str, elapsed_ns: int) -> None:
        """Credit `elapsed_ns` of one phase to another instead (work that was thrown away)."""
        self._totals_ns[source] -= elapsed_ns
        self._totals_ns[target] += elapsed_ns

    def totals_ns(self) -> dict[str, int]:
        """Nanoseconds per phase up to this instant, without waiting for the device."""
        self._credit()
        return dict(self._totals_ns)

    def elapsed_ns(self, phase: str) -> int:
        """Nanoseconds of `phase` up to this instant, without waiting for the device."""
        elapsed_ns = self._totals_ns[phase]
        if phase == self.phase:
            elapsed_ns += self.clock_ns() - self._since_ns
        return elapsed_ns

    def seconds(self, phase: str) -> float:
        """Seconds of `phase` likewise."""
        return self.elapsed_ns(phase) / NANOSECONDS_PER_SECOND

    def _credit(self) -> None:
        # one reading: the instant that ends what was begins what comes
        now_ns = self.clock_ns()
        self._totals_ns[self.phase] += now_ns - self._since_ns
        self._since_ns = now_ns


def _known(phase: str) -> str:
    if phase not in PHASES:
        raise ValueError(f"unknown phase {phase!r}; phases are {', '.join(PHASES)}")
    return phase
