"""What hours cost at a platform's price, in its unit, and in dollars where one may say."""

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from mnist_gpu.numbers import figure
from mnist_gpu.records.acceptable import UNSTATED
from mnist_gpu.records.facts import facts
from mnist_gpu.records.schema import Price

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
    # a rented machine's electricity is in its price
    if kind != "local":
        return Cost(price.reason or "unknown")
    if energy_j:
        basis = f"energy over the epochs by {metered_by}"
        return _electricity(energy_j / JOULES_PER_KWH, "about", basis)
    if bound := _power_at_most_w(described):
        basis = f"at most {bound['watts']} W ({bound['source']}, {bound['as_of']})"
        return _electricity(bound["watts"] * held_s / JOULES_PER_KWH, "at most", basis)
    # not the reason, which is a stranger's: this stands in the table
    return Cost("own hardware, energy not measured")


def _priced(price: Price, hours: float) -> Cost:
    table, unit = facts("conversions"), price.unit or "unknown unit"
    amount = hours * (price.amount_per_hour or 0)
    # by any of its names
    unit = table["aliases"].get(unit, unit)
    # a service unit is worth what its cloud asks for it; of many units nobody knows
    usd_each = table["units"].get(unit, {}).get("usd")
    usd = None if usd_each is None else amount * usd_each
    basis = f"{price.amount_per_hour:g} {unit}/h, {price.source}, {price.as_of}"
    if price.reason not in (None, UNSTATED):
        basis += f"; {price.reason}"
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
