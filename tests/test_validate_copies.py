"""A record that is another one sent again is refused, and so is the other."""

import random
from copy import deepcopy
from statistics import median

import pytest

from mnist_gpu.records.rules import check_files
from mnist_gpu.records.schema import Record
from tests.records import NOW, make_document, make_record, write_records


def test_all_records_with_one_run_id_are_refused_by_name(tmp_path):
    records = [make_record(seed=seed, run_id="the-same-id") for seed in range(3)]
    verdict = check_files([write_records(tmp_path, records)], NOW)
    assert verdict.accepted == []
    assert [fault.rule for fault in verdict.faults] == ["run_id_unique"] * 3


def timed(times):
    """A run of another seed that claims these (train_s, eval_s)."""
    trained, evaluated = map(list, zip(*times, strict=True))
    other = make_document(seed=3, epochs=len(times))
    for row, train_s, eval_s in zip(other["epochs"], trained, evaluated, strict=True):
        row["train_s"], row["eval_s"] = train_s, eval_s
    timing, sums = other["timing"], {"train_s": sum(trained), "eval_s": sum(evaluated)}
    timing["total_s"] += sum(sums.values()) - timing["train_s"] - timing["eval_s"]
    timing |= {**sums, "first_epoch_s": trained[0], "steady_epoch_s": median(trained[1:])}
    images_per_s = len(times) * 60000 / sum(trained)
    flops_per_s = images_per_s * other["workload"]["flops_per_sample"]
    other["result"] |= {"images_per_s": images_per_s, "flops_per_s": flops_per_s}
    return Record.model_validate(other)


def times_of(document):
    return [(row["train_s"], row["eval_s"]) for row in document["epochs"]]


def copied(document, factor=None, backwards=False):
    """The same run under another id and seed: exact, with jitter, or from its end."""
    noise, times = random.Random(1), times_of(document)
    times = [times[0], *(reversed(times[1:]) if backwards else times[1:])]
    if factor is None:
        return timed(times)
    own = times_of(make_document(seed=3))
    jittered = [round(train_s * (1 + factor * noise.uniform(-1, 1)), 9) for train_s, _ in times]
    return timed([(train_s, eval_s) for train_s, (_, eval_s) in zip(jittered, own, strict=True)])


@pytest.mark.parametrize(
    "changes", [{}, {"backwards": True}, {"factor": 2e-4}, {"factor": 2e-4, "backwards": True}]
)
def test_epoch_times_of_another_run_are_refused_in_both(tmp_path, changes):
    records = [make_record(), make_record(seed=1), copied(make_document(), **changes)]
    verdict = check_files([write_records(tmp_path, records)], NOW)
    assert {fault.rule for fault in verdict.faults} == {"epoch_times_own"}
    assert [run.record.workload.seed for run in verdict.accepted] == [1]


def with_training_of(document, times):
    """These times, and of the training as many of the document's, in whatever order."""
    trained = random.Random(1).sample(times_of(document), len(times))
    return [(train_s, eval_s) for (train_s, _), (_, eval_s) in zip(trained, times, strict=True)]


@pytest.mark.parametrize(
    "part",
    [
        lambda one, other: times_of(one)[:25],
        lambda one, other: times_of(one)[:4],
        lambda one, other: times_of(one)[:20] + times_of(other)[20:],
        lambda one, other: with_training_of(one, times_of(other)),
        lambda one, other: [
            (t, e) for (t, _), (_, e) in zip(times_of(other), times_of(one), strict=True)
        ],
    ],
    ids=["trimmed", "to four epochs", "spliced", "shuffled", "its evaluations"],
)
def test_a_run_of_which_a_part_is_anothers_is_refused_with_it(tmp_path, part):
    one, third = make_document(), make_document(seed=4)
    # the other one is not among the records
    made = timed(part(one, make_document(seed=1)))
    records = [Record.model_validate(one), Record.model_validate(third), made]
    verdict = check_files([write_records(tmp_path, records)], NOW)
    assert {fault.rule for fault in verdict.faults} == {"epoch_times_own"}
    assert [run.record.workload.seed for run in verdict.accepted] == [4]


def test_losses_of_another_seed_are_refused_though_the_last_is_another(tmp_path):
    one = make_record()
    losses = {f"epochs__{n}__test_loss": row.test_loss for n, row in enumerate(one.epochs[:-1])}
    for name, changes in {"seed": {"seed": 1}, "model": {"workload__batch_size": 128}}.items():
        declared = {
            "workload__standard": False,
            "workload__deviations": ["batch_size 128 (standard: 64)"],
            "workload__steps_made": 50 * 469,
        }
        other = make_record(**losses, **changes, **(declared if name == "model" else {}))
        other = other.model_copy(update={"run_id": f"another-{name}"})
        verdict = check_files([write_records(tmp_path / name, [one, other])], NOW)
        assert {fault.rule for fault in verdict.faults} == {"outcome_own"}, verdict.faults
        assert len({fault.path for fault in verdict.faults}) == 2
    # a shorter run of the same seed begins as the longer one does
    short = make_record(
        epochs=25, **{k: v for k, v in losses.items() if int(k.split("__")[1]) < 24}
    )
    verdict = check_files([write_records(tmp_path / "short", [one, short])], NOW)
    assert verdict.faults == []


def test_weights_or_losses_of_another_seed_are_refused_and_of_another_machine_are_not(tmp_path):
    one = make_record()
    weights = {"result__weights_sha256": one.result.weights_sha256}
    other = make_record(seed=1, **weights)
    verdict = check_files([write_records(tmp_path / "seed", [one, other])], NOW)
    assert [fault.rule for fault in verdict.faults] == ["outcome_own"] * 2
    honest = make_record(platform="lab", **weights)
    verdict = check_files([write_records(tmp_path / "machine", [one, honest])], NOW)
    assert verdict.faults == []
    losses = {f"epochs__{n}__test_loss": row.test_loss for n, row in enumerate(one.epochs)}
    losses["result__test_loss"] = one.result.test_loss
    keras = make_record(engine="keras", **losses)
    verdict = check_files([write_records(tmp_path / "engine", [one, keras])], NOW)
    assert {fault.rule for fault in verdict.faults} == {"outcome_own"}
    assert len({fault.path for fault in verdict.faults}) == 2


def test_a_run_sent_again_as_another_seed_with_other_noise_is_refused(tmp_path):
    """Losses jittered so far that none is equal, on times of their own."""
    one, noise = make_document(), random.Random(1)
    again, own = deepcopy(one), make_document(seed=3)
    again |= {"run_id": "another-run", "created_at": own["created_at"], "timing": own["timing"]}
    again |= {"result": own["result"] | {"test_accuracy": one["result"]["test_accuracy"]}}
    again["workload"]["seed"] = 3
    for row, its in zip(again["epochs"], own["epochs"], strict=True):
        row |= {name: its[name] for name in ("train_s", "eval_s", "data_wait_s")}
        row["train_loss"] = its["train_loss"]
        row["test_loss"] *= 1 + 1e-4 * noise.random()
    again["result"]["test_loss"] = again["epochs"][-1]["test_loss"]
    records = [Record.model_validate(each) for each in (one, again, make_document(seed=1))]
    verdict = check_files([write_records(tmp_path, records)], NOW)
    assert {(fault.rule, fault.field) for fault in verdict.faults} == {
        ("outcome_own", "epochs.*.test_loss")
    }
    assert [run.record.workload.seed for run in verdict.accepted] == [1]


def test_equal_weights_that_reach_another_loss_are_refused(tmp_path):
    one = make_record()
    weights = {"result__weights_sha256": one.result.weights_sha256}
    loss = one.result.test_loss + 0.02
    worse = {"epochs__49__test_loss": loss, "result__test_loss": loss}
    other = make_record(platform="lab", **weights, **worse)
    verdict = check_files([write_records(tmp_path, [one, other])], NOW)
    assert {(fault.rule, fault.field) for fault in verdict.faults} == {
        ("outcome_own", "result.weights_sha256")
    }
