"""What a run costs: hours at the record's own price, and in dollars where one may say."""

import re
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from typing import Any

from mnist_gpu.records.facts import facts
from mnist_gpu.records.run import Run
from mnist_gpu.records.schema import Price, Record
from mnist_gpu.report.numbers import figure
from mnist_gpu.report.statistics import time_to

JOULES_PER_KWH = 3_600_000
SECONDS_PER_HOUR = 3600


@dataclass(frozen=True)
class Cost:
    """The cost of some hours of a machine.

    Attributes:
        basis: where the number comes from, or why there is none.
        amount: in `unit`; None for what is free or unknown, never 0.
        usd: in US dollars, None where no conversion is known.
        estimate: `about` or `at most` where it is no more than that, else empty.
        free: whether nobody charges for it.
    """

    basis: str
    amount: float | None = None
    unit: str | None = None
    usd: float | None = None
    estimate: str = ""
    free: bool = False

    def text(self) -> str:
        """For a table: `12.3 SU`, `at most 0.004 USD (electricity)`, `free`, `unknown`."""
        if self.amount is None:
            return "free" if self.free else self.basis
        return f"{self.estimate} {figure(self.amount)} {self.unit}".strip()

    def usd_text(self) -> str:
        """In dollars, where the unit is another: `about 0.00123 USD`; else empty."""
        if self.usd is None or self.unit == "USD":
            return ""
        return f"{self.estimate or 'about'} {figure(self.usd)} USD"

    def full_text(self) -> str:
        """With the dollars in brackets, where the unit is another."""
        return f"{self.text()} ({self.usd_text()})" if self.usd_text() else self.text()


def run_cost(run: Run) -> Cost:
    """The cost of a whole run: everybody charges for the time a machine is held."""
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


def cost_of(
    price: Price,
    kind: str,
    described: str,
    held_s: float,
    energy_j: float | None = None,
    metered_by: str | None = None,
) -> Cost:
    """What holding a machine costs.

    Args:
        price: of an hour.
        kind: of the platform: what is `local` costs its electricity.
        described: the hardware's own names.
        held_s: seconds.
        energy_j: what was measured of it in that time.
        metered_by: the meter.
    """
    if price.free:
        return Cost(price.reason or "free of charge", free=True)
    if price.amount_per_hour:
        return _priced(price, held_s / SECONDS_PER_HOUR)
    if kind != "local":
        return Cost(price.reason or "unknown")
    if energy_j:
        basis = f"energy over the epochs by {metered_by}"
        return _electricity(energy_j / JOULES_PER_KWH, "about", basis)
    if bound := _power_at_most_w(described):
        basis = f"at most {bound['watts']} W ({bound['source']}, {bound['as_of']})"
        return _electricity(bound["watts"] * held_s / JOULES_PER_KWH, "at most", basis)
    return Cost(f"{price.reason or 'own hardware'}, energy not measured")


def _cost(record: Record, held_s: float) -> Cost:
    used, total_s = record.resources, record.timing.total_s
    # the meter gives one number a run: a part of the run has its share by time
    share = min(1.0, held_s / total_s) if total_s else 1.0
    energy_j = (used.energy_j or 0.0) * share
    described = f"{record.hardware.accelerator_name} {record.hardware.cpu_model}"
    kind = record.platform.kind
    return cost_of(record.price, kind, described, held_s, energy_j, used.energy_source)


def _priced(price: Price, hours: float) -> Cost:
    table, unit = facts("conversions"), price.unit or "unknown unit"
    amount = hours * (price.amount_per_hour or 0)
    # by any of its names
    unit = table["aliases"].get(unit, unit)
    usd_each = table["units"].get(unit, {}).get("usd")
    usd = None if usd_each is None else amount * usd_each
    basis = f"{price.amount_per_hour:g} {unit}/h, {price.source}, {price.as_of}"
    return Cost(basis, amount, unit, usd, "about" if unit == "kWh" else "")


def _electricity(kwh: float, estimate: str, basis: str) -> Cost:
    """Owned hardware costs its electricity: measured where it can be, else an upper bound."""
    tariff = facts("conversions")["units"]["kWh"]
    basis += f"; {tariff['usd']} USD/kWh ({tariff['source']}, {tariff['as_of']})"
    return Cost(basis, kwh, "kWh", kwh * tariff["usd"], estimate)


@cache
def _power_at_most_w(described: str) -> Any:
    known = facts("conversions")["power_at_most_w"]
    return next((entry for entry in known if re.search(entry["match"], described)), None)
