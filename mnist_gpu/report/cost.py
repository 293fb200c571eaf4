"""What a run costs: hours at the record's own price, and in dollars where one may say."""

from itertools import takewhile

from mnist_gpu.records.price import Cost, cost_of
from mnist_gpu.records.run import Run
from mnist_gpu.records.schema import Record
from mnist_gpu.report.statistics import time_to


def run_cost(run: Run) -> Cost:
    """The cost of a whole run: everybody charges for the time a machine is held.

    A rehearsal on one's own machine has the cost of that, not the platform's.
    """
    return _cost(run.record, run.record.timing.total_s)


def cost_to(run: Run, accuracy: float) -> Cost | None:
    """The cost from the start up to the first evaluation with `accuracy`; None if never reached."""
    train_s = time_to(run, accuracy)
    if train_s is None:
        return None
    before = list(takewhile(lambda reached: reached < accuracy - 1e-9, run.test_accuracy))
    timing = run.record.timing
    set_up_s = timing.startup_s + timing.data_s + timing.build_s + timing.warmup_s
    return _cost(run.record, set_up_s + train_s + sum(run.eval_s[: len(before) + 1]))


def _cost(record: Record, held_s: float) -> Cost:
    used, total_s = record.resources, record.timing.total_s
    # the meter gives one number a run: a part of the run has its share by time
    share = min(1.0, held_s / total_s) if total_s else 1.0
    energy_j = (used.energy_j or 0.0) * share
    described = f"{record.hardware.accelerator_name} {record.hardware.cpu_model}"
    price, kind = record.price, record.platform.kind
    if record.platform.rehearsal:
        # the platform charged nothing and gave nothing free: the machine was one's own
        price, kind = price.model_copy(update={"amount_per_hour": None, "free": False}), "local"
    return cost_of(price, kind, described, held_s, energy_j, used.energy_source)
