"""Where a run's time went is said from what was measured alone."""

from statistics import median

import pytest

from mnist_gpu.records.facts import facts
from mnist_gpu.records.remarks import longest_pipeline_wait_s, remarks
from mnist_gpu.records.store import read_record
from tests.documents import CHECKOUT
from tests.records import make_record


def test_where_the_time_went_is_said_from_what_was_measured():
    record = make_record(timing__data_wait_s=139.5)
    share = f"{13950 / record.timing.train_s:.0f} %"
    assert remarks(record) == [f"{share} of training waited for data"]


def test_of_an_accelerator_nothing_is_said_that_its_host_alone_was_seen_to_do():
    record = make_record(
        accelerator="cuda",
        accelerator_name="Tesla T4",
        engine="torch",
        timing__data_wait_s=139.5,
        resources__gpu_percent=22.0,
    )
    share = f"{13950 / record.timing.train_s:.0f} %"
    assert remarks(record) == [
        f"the host waited for data {share} of training, whatever the GPU did meanwhile",
        "the GPU was busy 22 % of the time: it is done with a batch of 64 long before the host"
        " brings the next",
    ]


def test_what_tuned_brings_is_said_where_records_of_that_kind_of_device_show_it():
    [measured] = facts("tuned")["times_as_fast"]["lightning"].values()
    on_gpu = {"accelerator": "cuda", "accelerator_name": measured["hardware"]}
    times = f"{measured['times']:g} times as fast with division=tuned"
    said = remarks(make_record(**on_gpu))[-1]
    assert said == f"{times}, measured on {measured['hardware']} ({measured['as_of']})"
    other = make_record(**on_gpu, engine__division="tuned", engine__switches={"compile": True})
    for silent in (make_record(), make_record(**on_gpu, engine="torch"), other):
        assert not any("tuned" in line for line in remarks(silent))


def test_what_tuned_brings_is_what_the_records_say():
    for by_device in facts("tuned")["times_as_fast"].values():
        for device, measured in by_device.items():
            paths = sorted((CHECKOUT / measured["source"]).glob("*/record.json"))
            records = [r for r in map(read_record, paths) if r.engine.precision == "float32"]
            assert {record.hardware.accelerator_name for record in records} == {
                measured["hardware"]
            }
            assert {record.hardware.accelerator for record in records} == {device}
            stock, tuned = (
                median(r.timing.train_s for r in records if r.engine.division == division)
                for division in ("stock", "tuned")
            )
            assert round(stock / tuned, 1) == measured["times"]


def test_of_what_was_not_measured_nothing_is_said():
    record = make_record(timing__data_wait_s=None, resources__gpu_percent=None)
    assert remarks(record) == []


def test_epochs_that_waited_for_tensorflows_tuning_thread_are_counted():
    times_s = (40.6, 82.0135, 48.2, 41.08, 82.123)
    waits = {f"epochs__{n}__train_s": seconds for n, seconds in enumerate(times_s)}
    record = make_record(engine="keras", epochs=5, **waits)
    [said] = [line for line in remarks(record) if "pipeline" in line]
    assert said == (
        "2 of 5 epochs ended in a wait for TensorFlow's data pipeline, 83 s in all:"
        " engine.switches.no_autotune=true leaves it out"
    )
    switched = make_record(
        engine="keras", epochs=5, engine__switches={"no_autotune": True}, **waits
    )
    for silent in (make_record(engine="torch", epochs=5, **waits), switched):
        assert not any("pipeline" in line for line in remarks(silent))


@pytest.mark.parametrize(
    ("epoch_s", "until_s"), [(2.0, 2.55), (5.0, 5.11), (5.2, 10.23), (40.9, 40.95), (41.0, 81.91)]
)
def test_an_epoch_waits_no_longer_than_until_that_thread_wakes(epoch_s, until_s):
    engine = make_record(engine="keras").engine
    assert epoch_s + longest_pipeline_wait_s(engine, epoch_s) == pytest.approx(until_s)


def test_what_does_not_tune_its_pipeline_does_not_wait_for_it():
    switched = make_record(engine="keras", engine__switches={"no_autotune": True})
    for record in (switched, make_record(engine="torch")):
        assert longest_pipeline_wait_s(record.engine, 41.0) == 0
