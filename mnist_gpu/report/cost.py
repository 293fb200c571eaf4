"""What a run costs: hours at the record's own price, and in dollars where one may say."""

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from mnist_gpu.records.facts import facts
from mnist_gpu.records.run import Run
from mnist_gpu.records.schema import Price, Record
from mnist_gpu.report.numbers import money
from mnist_gpu.report.statistics import time_to

JOULES_PER_KWH = 3_600_000
SECONDS_PER_HOUR = 3600


@dataclass(frozen=True)
class Energy:
    """What a machine used in some time, and who measured it."""

    joules: float
    source: str | None


@dataclass(frozen=True)
class Cost:
    """The cost of some hours of a machine.

    Attributes:
        amount: in `unit`; None for what is free or unknown, never 0.
        usd: in US dollars, None where no conversion is known.
        estimate: `about` or `at most` where it is no more than that, else empty.
        basis: where the number comes from, or why there is none.
        free: whether nobody charges for it.
    """

    amount: float | None
    unit: str | None
    usd: float | None
    estimate: str
    basis: str
    free: bool = False

    def text(self) -> str:
        """For a table: `12.3 SU`, `at most 0.004 USD (electricity)`, `free`, `unknown`."""
        if self.amount is None or self.unit is None:
            return "free" if self.free else self.basis
        return f"{self.estimate} {money(self.amount, self.unit)}".strip()

    def usd_text(self) -> str:
        """In dollars, where the unit is another: `about 0.00123 USD`; else empty."""
        if self.usd is None or self.unit == "USD":
            return ""
        return f"{self.estimate or 'about'} {money(self.usd, 'USD')}"


def run_cost(run: Run) -> Cost:
    """The cost of a whole run: everybody charges for the time a machine is held."""
    return _cost(run.record, run.record.timing.total_s)


def cost_to(run: Run, accuracy: float) -> Cost | None:
    """The cost from the start up to the first evaluation with `accuracy`; None if never reached."""
    train_s = time_to(run, accuracy)
    if train_s is None:
        return None
    epochs = next(
        number for number, got in enumerate(run.test_accuracy, 1) if got >= accuracy - 1e-9
    )
    timing = run.record.timing
    set_up_s = timing.startup_s + timing.data_s + timing.build_s + timing.warmup_s
    return _cost(run.record, set_up_s + train_s + sum(run.eval_s[:epochs]))


def unit_row(unit: str) -> dict[str, Any] | None:
    """What is known of a unit, by any of its names."""
    table = facts("conversions")
    row: dict[str, Any] | None = table["units"].get(table["aliases"].get(unit, unit))
    return row


def cost_of(
    price: Price, kind: str, described: str, held_s: float, energy: Energy | None = None
) -> Cost:
    """What holding a machine costs.

    Args:
        price: of an hour.
        kind: of the platform: what is `local` costs its electricity.
        described: the hardware's own names.
        held_s: seconds.
        energy: what was measured of it.
    """
    if price.free:
        return Cost(None, None, None, "", price.reason or "free of charge", free=True)
    if price.amount_per_hour:
        return _priced(price, held_s / SECONDS_PER_HOUR)
    if kind == "local":
        return _electricity(price, described, held_s, energy)
    return Cost(None, None, None, "", price.reason or "unknown")


def _cost(record: Record, held_s: float) -> Cost:
    used, total_s = record.resources, record.timing.total_s
    energy = None
    if used.energy_j:
        share = min(1.0, held_s / total_s) if total_s else 1.0
        energy = Energy(used.energy_j * share, used.energy_source)
    described = f"{record.hardware.accelerator_name} {record.hardware.cpu_model}"
    return cost_of(record.price, record.platform.kind, described, held_s, energy)


def _priced(price: Price, hours: float) -> Cost:
    unit = price.unit or "unknown unit"
    amount = hours * (price.amount_per_hour or 0)
    canonical = facts("conversions")["aliases"].get(unit, unit)
    row = unit_row(unit)
    usd = amount * row["usd"] if row and row["usd"] is not None else None
    basis = f"{price.amount_per_hour:g} {canonical}/h, {price.source}, {price.as_of}"
    return Cost(amount, canonical, usd, "about" if canonical == "kWh" else "", basis)


def _electricity(price: Price, described: str, held_s: float, energy: Energy | None) -> Cost:
    """Owned hardware costs its electricity: measured where it can be, else an upper bound."""
    tariff = facts("conversions")["units"]["kWh"]
    if energy:
        kwh, estimate = energy.joules / JOULES_PER_KWH, "about"
        basis = f"energy over the epochs by {energy.source}; "
    else:
        bound = _power_at_most_w(described)
        if bound is None:
            reason = price.reason or "own hardware"
            return Cost(None, None, None, "", f"{reason}, energy not measured")
        kwh, estimate = bound["watts"] * held_s / JOULES_PER_KWH, "at most"
        basis = f"at most {bound['watts']} W ({bound['source']}, {bound['as_of']}); "
    basis += f"{tariff['usd']} USD/kWh ({tariff['source']}, {tariff['as_of']})"
    return Cost(kwh, "kWh", kwh * tariff["usd"], estimate, basis)


@cache
def _power_at_most_w(described: str) -> dict[str, Any] | None:
    for entry in facts("conversions")["power_at_most_w"]:
        if re.search(entry["match"], described):
            found: dict[str, Any] = entry
            return found
    return None
