"""What one fit has taken so far: phases, epochs and batches, over the segments of a resumed fit.

Everything is counted in integers (nanoseconds, batches, steps, images), so that sums are exact.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any
from uuid import uuid4

from mnist_gpu.timing.stopwatch import NANOSECONDS_PER_SECOND, Stopwatch

FIT_PHASES = ("train", "eval", "checkpoint", "other")
NUMBERS = ("batches", "steps", "images")
LOGGED = ("train_s", "eval_s", "data_wait_s")
Tally = dict[str, int | None]
NOTHING: Tally = dict.fromkeys((*FIT_PHASES, "data_wait", *NUMBERS), 0)


@dataclass(frozen=True)
class EpochTimes:
    """One pass over the training batches, with what happened inside it."""

    epoch: int  # counted from 1
    train_s: float  # seconds of training, the device's work included
    # within `train_s`, the host's wait for the next batch on its device; None where it is unknown
    data_wait_s: float | None
    eval_s: float  # validations within the epoch
    checkpoint_s: float  # writing and removing checkpoints within the epoch
    other_s: float  # within the epoch and none of these, such as a logger's work
    batches: int  # of training
    steps: int  # of the optimizer, as `Trainer.global_step` counts them
    images: int | None  # training samples, None where they cannot be counted

    def metrics(self) -> dict[str, float]:
        """What loggers are sent: what is not known is left out."""
        of_epoch = {f"time/{name}": getattr(self, name) for name in LOGGED}
        images_per_s = _rate(self.images, self.train_s)
        steps_per_s = _rate(self.steps, self.train_s) if images_per_s is None else None
        rates = {"time/images_per_s": images_per_s, "time/steps_per_s": steps_per_s}
        return {name: value for name, value in (of_epoch | rates).items() if value is not None}


class Ledger:
    """Keeps the phases of a stopwatch from now on, and splits them by epochs; without one it keeps
    nothing, for a fit that never was."""

    def __init__(self, stopwatch: Stopwatch | None) -> None:
        self.rows: list[EpochTimes] = []
        self.segments = 1
        self._id = uuid4().hex
        self._stopwatch = stopwatch
        self._carried_ns = self._since_ns = dict.fromkeys(FIT_PHASES, 0)
        self._since_ns = self._phases_ns()
        # the epoch that is open: what an earlier segment made of it, and this one since its marks
        self._epoch = 0
        self._before = dict(NOTHING)
        self._marks: dict[str, int] | None = None
        self._counts = dict(NOTHING)
        self._global_step: Callable[[], int] = int

    def begin_epoch(
        self, epoch: int, global_step: Callable[[], int], wait_known: bool, images_known: bool
    ) -> None:
        """From here on it is epoch `epoch`, counted from 1."""
        if self._before != NOTHING and self._epoch != epoch:
            # its checkpoint was written in its last validation: Lightning resumes after that epoch
            self._close(self._before)
        self._epoch = epoch
        self._global_step = global_step
        self._marks = {**self._phases_ns(), "steps": global_step()}
        self._counts = {
            "batches": 0,
            "data_wait": 0 if wait_known else None,
            "images": 0 if images_known else None,
        }

    def train(self) -> None:
        """The open epoch's first phase has begun: what was before it belongs to no epoch."""
        assert self._marks is not None
        self._marks["other"] = self._phases_ns()["other"]

    def count_batch(self, images: int | None) -> None:
        """Another training batch has ended."""
        counts: dict[str, Any] = self._counts
        counts["batches"] += 1
        if images is None:
            counts["images"] = None
        elif counts["images"] is not None:
            counts["images"] += images

    def count_wait(self, elapsed_ns: int) -> None:
        """The host has waited so long for a batch, where that can be known."""
        self._counts["data_wait"] += elapsed_ns  # type: ignore[operator]

    def end_epoch(self) -> None:
        """The open epoch is complete: its row is the last of `rows`."""
        self._close(self.so_far())

    def end(self) -> None:
        """The call is over: keep what there is, and nothing that comes after."""
        # both are read before the marks go that they are read by
        totals_ns, self._before, self._marks = self.totals_ns(), self.so_far(), None
        self._carried_ns, self._global_step = totals_ns, int
        self._stopwatch, self._since_ns = None, dict.fromkeys(FIT_PHASES, 0)

    def so_far(self) -> Tally:
        """Counts of the epoch that is open, zeros where none is."""
        if self._marks is None:
            return dict(self._before)
        since: Tally = dict(self._counts)
        for name, now in {**self._phases_ns(), "steps": self._global_step()}.items():
            since[name] = now - self._marks[name]
        return {name: _sum([self._before[name], since[name]]) for name in NOTHING}

    def totals_ns(self) -> dict[str, int]:
        """Nanoseconds by phase, over all segments, up to this instant."""
        return {
            phase: self._carried_ns[phase] + now_ns - self._since_ns[phase]
            for phase, now_ns in self._phases_ns().items()
        }

    def state(self) -> dict[str, Any]:
        """What a checkpoint has to hold, in Python's own types."""
        return {
            "id": self._id,
            "totals_ns": self.totals_ns(),
            "epochs": [asdict(row) for row in self.rows],
            "epoch": self._epoch,
            "so_far": self.so_far(),
            "segments": self.segments,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what an earlier segment had when its checkpoint was written.

        A state of this very segment is left alone: Lightning's search for a learning rate restores
        what was there before it, but its time has passed.
        """
        if state["id"] == self._id:
            return
        self._carried_ns = dict(state["totals_ns"])
        self.rows = [EpochTimes(**row) for row in state["epochs"]]
        self._epoch, self._before = state["epoch"], dict(state["so_far"])
        self.segments = state["segments"] + 1

    def summary(self) -> dict[str, Any]:
        """Totals, rates and rows, as plain numbers and lists."""
        totals_ns, so_far, rows = self.totals_ns(), self.so_far(), self.rows
        numbers = {
            name: _sum([*(getattr(row, name) for row in rows), so_far[name]]) for name in NUMBERS
        }
        waits_s = [*(row.data_wait_s for row in rows), _seconds(so_far["data_wait"])]
        train_s = totals_ns["train"] / NANOSECONDS_PER_SECOND
        return {
            **in_seconds(totals_ns),
            "data_wait_s": _sum(waits_s),
            **numbers,
            "images_per_s": _rate(numbers["images"], train_s),
            "steps_per_s": _rate(numbers["steps"], train_s),
            "first_epoch_s": rows[0].train_s if rows else None,
            "steady_epoch_s": median(row.train_s for row in rows[1:]) if len(rows) > 1 else None,
            "segments": self.segments,
            "epochs": [asdict(row) for row in rows],
        }

    def _phases_ns(self) -> dict[str, int]:
        if self._stopwatch is None:
            return self._since_ns
        totals_ns = self._stopwatch.totals_ns()
        named = {phase: totals_ns.pop(phase) for phase in FIT_PHASES if phase != "other"}
        return {**named, "other": sum(totals_ns.values())}

    def _close(self, tally: Tally) -> None:
        values: dict[str, Any] = {name: tally[name] for name in NUMBERS}
        for name in (*FIT_PHASES, "data_wait"):
            values[f"{name}_s"] = _seconds(tally[name])
        self.rows.append(EpochTimes(epoch=self._epoch, **values))
        self._before, self._marks = dict(NOTHING), None


def in_seconds(totals_ns: Mapping[str, int]) -> dict[str, float]:
    """`total_s` and each phase in seconds, from nanoseconds."""
    total_s = sum(totals_ns.values()) / NANOSECONDS_PER_SECOND
    phases = {f"{name}_s": ns / NANOSECONDS_PER_SECOND for name, ns in totals_ns.items()}
    return {"total_s": total_s, **phases}


def _seconds(elapsed_ns: int | None) -> float | None:
    return None if elapsed_ns is None else elapsed_ns / NANOSECONDS_PER_SECOND


def _rate(number: int | None, elapsed_s: float) -> float | None:
    """So many a second; None where the number is not known or no time has passed."""
    return number / elapsed_s if number is not None and elapsed_s else None


def _sum(parts: list[Any]) -> Any:
    """Their sum; unknown (None) if any is."""
    return None if None in parts else sum(parts)
