"""A minute of training in pieces, and what a whole training would take by them."""

import math
from collections.abc import Callable, Sequence
from itertools import groupby, pairwise
from operator import attrgetter
from statistics import fmean, median, stdev
from typing import NamedTuple

from mnist_gpu.timing.timeline import Epoch, Interrupted, Observer, Timeline

PIECES_PER_EPOCH = 16
PIECES_PER_BUDGET = 20
# one-sided 5 % points of Student's t by degrees of freedom; the last serves whatever is above
STUDENT_T = (6.31, 2.92, 2.35, 2.13, 2.02, 1.94, 1.89, 1.86, 1.83, 1.81, 1.80, 1.78, 1.77, 1.76)
# A minute knows nothing of what else the machine will do in the next hour: no interval is narrower.
# docs/estimate.md has the estimates and the runs after them that this was checked against.
LEAST_HALF_WIDTH = 0.12
# An epoch may end in a wait that comes and goes (docs/estimate.md): one or two tell too little.
ENDS_TO_COUNT_ON = 3


class Enough(Interrupted):
    """As much has been trained as was asked for."""

    def __init__(self) -> None:
        super().__init__(0)


class Piece(NamedTuple):
    """Some optimizer steps in a row, within one epoch."""

    epoch: int  # counted from 1
    steps: int
    train_s: float  # in an epoch's first piece with what beginning an epoch costs


class Extrapolation(NamedTuple):
    """Seconds that a training would take, with a 90 % interval."""

    train_s: float
    low_s: float
    high_s: float
    waits: bool = False  # whether waits at epochs' ends count that were not seen


class Pieces(Observer):
    """Notes how long pieces of the training take; the device is waited for at each one's end.

    Args:
        steps_per_epoch: of the training.
        budget_s: seconds of training after which `Enough` is raised; None goes on to the end.
    """

    vital = True

    def __init__(self, steps_per_epoch: int, budget_s: float | None = None) -> None:
        self.steps_per_epoch = steps_per_epoch
        self.budget_s = budget_s
        self.pieces: list[Piece] = []
        self._steps = 0
        self._since_s = 0.0

    def began(self, timeline: Timeline) -> None:
        """Read the timeline's clock from now on."""
        self._stopwatch = timeline.stopwatch
        self._since_s = self._stopwatch.seconds("train")

    def progressed(self, epoch: int, step: int) -> None:
        """End a piece that is long enough; `Enough` once the budget is spent."""
        elapsed_s = self._stopwatch.seconds("train") - self._since_s
        steps = step - self._steps
        long_s = math.inf if self.budget_s is None else self.budget_s / PIECES_PER_BUDGET
        if steps * PIECES_PER_EPOCH < self.steps_per_epoch and elapsed_s < long_s:
            return
        # the edge at an epoch's end waits anyway, and `epoch_ended` follows it
        if step < self.steps_per_epoch:
            self._stopwatch.synchronise()
            self._end(epoch, steps)
            self._steps = step
        if self.budget_s is not None and sum(p.train_s for p in self.pieces) >= self.budget_s:
            raise Enough

    def epoch_ended(self, row: Epoch) -> None:
        """The rest of the epoch is its last piece."""
        self._end(row.epoch, self.steps_per_epoch - self._steps)
        self._steps = 0

    def _end(self, epoch: int, steps: int) -> None:
        now_s = self._stopwatch.seconds("train")
        if steps:
            self.pieces.append(Piece(epoch, steps, now_s - self._since_s))
        self._since_s = now_s


def extrapolate(
    pieces: Sequence[Piece],
    steps_per_epoch: int,
    epochs: int,
    longest_wait_s: Callable[[float], float] = lambda epoch_s: 0.0,
    waiting: float = 0.0,
) -> Extrapolation:
    """What `epochs` epochs take, by some pieces of the first ones.

    An epoch's beginning is counted once an epoch, and so is its end where at least three were
    seen. Fewer count beside one that was not seen and takes what the framework is known for, else
    nothing; the interval then reaches from no end to the longest at each.

    A first epoch that has ended counts as it was, and the others follow the pieces after it, if
    they make up another epoch. The interval is as wide upwards as downwards by factor: e to the
    half-width. That has four parts, added as squares: Student's t times the standard error of a
    piece's mean step, the pieces' correlation with the one before counted in; half the difference
    of the later from the earlier pieces; what an end may add, or may not; and `LEAST_HALF_WIDTH`.

    Args:
        pieces: of the training's beginning, at least two.
        steps_per_epoch: of the training.
        epochs: of the training.
        longest_wait_s: the longest wait that the framework is known for at an epoch's end, by the
            seconds of the epoch.
        waiting: the share of epochs that end in one.

    Raises:
        ValueError: fewer than two pieces.
    """
    if len(pieces) < 2:
        raise ValueError("an estimate needs two pieces of training")
    first = [piece for piece in pieces if piece.epoch == pieces[0].epoch]
    later = pieces[len(first) :]
    first_s = None
    if sum(piece.steps for piece in later) >= steps_per_epoch:
        first_s = sum(piece.train_s for piece in first)
        pieces = later
    pace = _pace(pieces, steps_per_epoch)
    known = pace.ends >= ENDS_TO_COUNT_ON
    unseen_s = 0.0 if known else waiting * longest_wait_s(pace.epoch_s)
    ends = pace.ends if known else pace.ends + 1
    epoch_s = pace.epoch_s + (pace.ends * pace.end_s + unseen_s) / ends
    train_s = epochs * epoch_s if first_s is None else first_s + (epochs - 1) * epoch_s
    half = _half_width(pace.relative)
    # without any end, and with all of each
    least_s = most_s = epoch_s
    if not known:
        least_s, most_s = pace.epoch_s, max(epoch_s, pace.epoch_s + pace.end_s)
    low_s = train_s * math.exp(-math.hypot(half, math.log(epoch_s / least_s)))
    high_s = train_s * math.exp(math.hypot(half, math.log(most_s / epoch_s)))
    # of the longest that an epoch's steps may take: a little more may just miss what would end it
    slowest_s = pace.epoch_s * math.exp(half)
    longest_s = 0.0 if known else longest_wait_s(slowest_s)
    waiting_s = epochs * (slowest_s + longest_s) if longest_s else 0.0
    waits = unseen_s > 0 or waiting_s > high_s
    return Extrapolation(train_s, low_s, max(high_s, waiting_s), waits)


class _Pace(NamedTuple):
    epoch_s: float  # of an epoch without its end
    end_s: float  # what its end takes beyond its steps, on the average of so many
    ends: int
    relative: list[float]  # step times within epochs, as shares of their mean


def _pace(pieces: Sequence[Piece], steps_per_epoch: int) -> _Pace:
    by_epoch = [list(group) for _, group in groupby(pieces, key=attrgetter("epoch"))]
    ends: list[Piece] = []
    within: list[Piece] = []
    for beginning, *rest in by_epoch:
        # an epoch in one piece, or cut off before its end, has no end of its own
        if rest and sum(p.steps for p in (beginning, *rest)) == steps_per_epoch:
            ends.append(rest.pop())
        within += rest
    within = within or list(pieces)
    step_s = sum(p.train_s for p in within) / sum(p.steps for p in within)
    over_s = [piece.train_s - piece.steps * step_s for piece in ends]
    beginning_s = fmean(group[0].train_s - group[0].steps * step_s for group in by_epoch)
    return _Pace(
        epoch_s=steps_per_epoch * step_s + max(0.0, beginning_s),
        end_s=max(0.0, fmean(over_s)) if over_s else 0.0,
        ends=len(ends),
        relative=[piece.train_s / piece.steps / step_s for piece in within],
    )


def _half_width(relative: Sequence[float]) -> float:
    """Of the mean of some step times, as shares of their mean."""
    n = len(relative)
    if n < 2:
        return 0.5
    spread = stdev(relative)
    error = spread / math.sqrt(n)
    if spread and n > 3:
        products = [(a - 1) * (b - 1) for a, b in pairwise(relative)]
        # slow pieces come in rows: their mean is less sure than that of independent ones
        correlation = min(0.8, max(0.0, fmean(products) / spread**2))
        error *= math.sqrt((1 + correlation) / (1 - correlation))
    error *= STUDENT_T[min(n - 1, len(STUDENT_T)) - 1]
    drift = (median(relative[n // 2 :]) - median(relative[: n // 2])) / 2 if n > 3 else 0.0
    return math.hypot(error, drift, LEAST_HALF_WIDTH)
