"""What a run costs, and what is said where nobody charges."""

from pathlib import Path

import pytest

from mnist_gpu.records.facts import facts
from mnist_gpu.records.run import Run
from mnist_gpu.report.cost import cost_to, run_cost
from tests.records import make_record


def price(amount=None, unit=None, reason=None, free=False):
    if amount is None:
        return {
            "free": free,
            "amount_per_hour": None,
            "unit": None,
            "source": None,
            "as_of": None,
            "reason": reason,
        }
    return {
        "amount_per_hour": amount,
        "unit": unit,
        "source": "https://example.org/prices",
        "as_of": "2026-10-01",
        "reason": None,
    }


def run_of(**changes):
    return Run.of(Path("record.json"), make_record(**changes))


def test_the_cost_is_the_hours_held_times_the_price_in_its_own_unit():
    run = run_of(platform="jetstream", kind="hpc", price=price(64.0, "SU"))
    cost = run_cost(run)
    assert cost.amount == pytest.approx(run.record.timing.total_s / 3600 * 64)
    assert cost.unit == "SU"
    assert cost.usd is None
    assert cost.usd_text() == ""
    assert "64 SU/h, https://example.org/prices, 2026-10-01" in cost.basis


def test_colab_units_are_converted_and_the_conversion_is_told_apart():
    cost = run_cost(run_of(platform="colab", kind="cloud", price=price(1.07, "compute units")))
    assert cost.unit == "CU"
    assert cost.usd == pytest.approx(cost.amount * facts("conversions")["units"]["CU"]["usd"])
    assert cost.usd_text().startswith("about ")


def test_dollars_are_dollars():
    cost = run_cost(run_of(platform="lab", kind="cloud", price=price(2.0, "USD")))
    assert cost.text().endswith(" USD")
    assert cost.usd == cost.amount


def test_an_unknown_unit_is_never_converted():
    cost = run_cost(run_of(kind="cloud", price=price(2.0, "EUR")))
    assert cost.unit == "EUR"
    assert cost.usd is None


def test_what_is_free_is_called_free_and_never_0():
    stated = price(reason="about 30 GPU hours a week", free=True)
    cost = run_cost(run_of(platform="kaggle", kind="cloud", price=stated))
    assert cost.text() == "free"
    assert cost.amount is None
    assert cost.free


@pytest.mark.parametrize("reason", ["not free at all", "no charge is known"])
def test_words_in_a_reason_make_nothing_free(reason):
    cost = run_cost(run_of(platform="lab", kind="cloud", price=price(reason=reason)))
    assert not cost.free
    assert cost.text() == reason


def test_owned_hardware_costs_its_measured_electricity_marked_as_an_estimate():
    run = run_of(resources__energy_j=36_000.0, resources__energy_source="RAPL")
    cost = run_cost(run)
    assert cost.amount == pytest.approx(0.01)
    assert cost.unit == "kWh"
    assert cost.usd == pytest.approx(0.01 * facts("conversions")["units"]["kWh"]["usd"])
    assert cost.text().startswith("about ")
    assert "RAPL" in cost.basis


def test_an_m1_without_an_energy_reading_costs_at_most_its_largest_power():
    run = run_of(platform="m1", accelerator="mps", accelerator_name="Apple M1")
    cost = run_cost(run)
    assert cost.amount == pytest.approx(39 * run.record.timing.total_s / 3.6e6)
    assert cost.text().startswith("at most ")


def test_owned_hardware_that_cannot_be_metered_has_no_number():
    cost = run_cost(run_of())
    assert cost.amount is None
    assert not cost.free
    assert cost.text() == "own hardware, energy not measured"


@pytest.mark.parametrize("asked", [price(reason="free to users", free=True), price(2.0, "SU")])
def test_a_rehearsal_at_home_has_the_cost_of_home_and_not_the_platforms(asked):
    place = {"platform": "jupyterhub", "kind": "cloud", "price": asked}
    cost = run_cost(run_of(**place, platform__rehearsal=True))
    assert (cost.free, cost.amount) == (False, None)
    assert cost.text() == "own hardware, energy not measured"
    real = run_cost(run_of(**place))
    assert real.free or real.amount


def test_the_cost_to_an_accuracy_stops_at_the_evaluation_that_shows_it():
    run = run_of(platform="lab", kind="cloud", price=price(3600.0, "USD"), accuracy=0.9912)
    cost = cost_to(run, 0.972)
    timing = run.record.timing
    set_up_s = timing.startup_s + timing.data_s + timing.build_s + timing.warmup_s
    assert cost.amount == pytest.approx(set_up_s + sum(run.train_s[:3]) + sum(run.eval_s[:3]))
    assert cost_to(run, 0.9999) is None
