"""An estimate in words: how long, what it costs, and whether it fits what the platform allows."""

from dataclasses import dataclass

from mnist_gpu.numbers import counted, duration
from mnist_gpu.records.acceptable import UNSTATED
from mnist_gpu.records.estimate import Estimate, Span, line
from mnist_gpu.records.price import Cost, cost_of


@dataclass(frozen=True)
class Fit:
    """Whether a run fits what the platform allows.

    Attributes:
        session: `fits 9.0 h`, `may not fit 9.0 h`, `does not fit 9.0 h`, or that no limit is known.
        week: how many such runs its weekly quota has room for.
    """

    session: str
    week: str


def cost(estimate: Estimate) -> Cost:
    """Of the whole run: everybody charges for the time a machine is held."""
    return cost_of(estimate.price, estimate.kind, estimate.hardware, estimate.total_s.value_s)


def fit(estimate: Estimate) -> Fit:
    """Whether the run fits a session, and how often a week's quota."""
    limits, total = estimate.limits, estimate.total_s
    session = "no limit known"
    if limits.session_s is not None:
        # the interval reaches over the limit
        answer = "may not fit"
        if total.high_s <= limits.session_s:
            answer = "fits"
        elif total.low_s > limits.session_s:
            answer = "does not fit"
        session = f"{answer} {duration(limits.session_s)}"
    week = "no quota known"
    if limits.quota_s_per_week is not None:
        # whole runs: a part of one has no result
        count = int(limits.quota_s_per_week // max(total.value_s, 1))
        week = f"{count:,} such runs" if count != 1 else "1 such run"
    return Fit(session, week)


def sentences(estimate: Estimate) -> list[str]:
    """One estimate, a line each."""
    how = f"{counted(estimate.epochs, 'epoch')}, from {duration(estimate.measured_s)} of training"
    fits, limits = fit(estimate), estimate.limits
    stated = [] if limits.session_s is None else [f"{limits.source}, {limits.as_of}"]
    if limits.reason and not (stated and limits.reason == UNSTATED):
        stated.append(limits.reason)
    held = cost(estimate)
    lines = [
        f"estimate       not a result: {how}",
        f"training       {_about(estimate.train_s)}",
        f"whole run      {_about(estimate.total_s)}",
        f"cost           {held.text()}" + (f" ({held.basis})" if held.amount is not None else ""),
        f"session        {fits.session} ({'; '.join(stated)})",
    ]
    if limits.quota_s_per_week is not None:
        quota = duration(limits.quota_s_per_week)
        lines.append(f"quota          {fits.week} in {quota} a week")
    lines += [f"warning        {warning}" for warning in estimate.warnings]
    return [*lines, f"to paste       {line(estimate)}"]


def span(seconds: Span) -> str:
    """The interval, for people."""
    return f"{duration(seconds.low_s)} to {duration(seconds.high_s)}"


def _about(seconds: Span) -> str:
    return f"about {duration(seconds.value_s)} ({span(seconds)}, 9 times of 10)"
