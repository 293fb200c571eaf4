"""What is one row of the report, how it is judged, and what casts doubt on it."""

import re
from pathlib import Path

import pytest

from mnist_gpu.report.judgement import pinned
from mnist_gpu.report.table import markdown
from tests.records import make_record
from tests.summaries import A100, LABORATORY, on_devices, row_named, seeds, summary_of

REPOSITORY = Path(__file__).resolve().parents[1]


def test_runs_of_one_configuration_are_one_row(field):
    summary = summary_of(*field)
    assert len(summary.rows) == 7
    row = row_named(summary, "cpu")
    assert row.n == 5
    assert row.train_s.median == sorted(row.train_s.points)[2]


def test_what_differs_in_machine_precision_or_compilation_is_another_row():
    summary = summary_of(
        make_record(seed=0),
        make_record(seed=1, precision="bf16-mixed"),
        make_record(seed=2, engine__compile="inductor"),
        make_record(seed=3, hardware__threads=2),
        make_record(seed=4, hardware__cpu_model="Another CPU"),
        make_record(seed=5, engine__backend="jax"),
        make_record(seed=6, engine__version=2),
        make_record(seed=7, engine__framework_version="2.16.1"),
        make_record(seed=8, engine__switches={"compile": True}, engine__division="tuned"),
        make_record(seed=9, engine__kernels=["sparse_linear"], engine__division="open"),
        make_record(seed=10, engine__environment={"LD_PRELOAD": "x"}, engine__division="tuned"),
        make_record(seed=11, platform__rehearsal=True),
        make_record(seed=12, hardware__cpu_family_model_stepping="6/85/7"),
        make_record(seed=13, hardware__virtualised=True),
        make_record(seed=14, hardware__ram_gib=64.0),
        make_record(seed=15, segments=2),
    )
    assert [row.n for row in summary.rows] == [1] * 16


def test_what_says_nothing_of_speed_makes_no_other_row():
    summary = summary_of(
        make_record(seed=0),
        make_record(seed=1, engine__framework_version="2.15.1+cu130"),
        make_record(seed=2, hardware__ram_gib=15.4, software__git_commit="1" * 40),
    )
    (row,) = summary.rows
    assert row.origin.startswith("0.1.0, 0000000, 1111111, 2026-")


def test_the_name_of_a_row_stays_when_other_records_come(field):
    alone = {row.ref for row in summary_of(*seeds(), *seeds(engine="torch", epoch_s=8.8)).rows}
    assert alone < {row.ref for row in summary_of(*field).rows}
    assert all(re.fullmatch(r"cpu-(lightning|torch)-[0-9a-f]{6}", ref) for ref in alone)


def test_rows_whose_short_names_are_the_same_get_long_ones(monkeypatch):
    monkeypatch.setattr("mnist_gpu.report.groups.HASH_DIGITS", 0)
    refs = [row.ref for row in summary_of(*seeds(1), *seeds(1, precision="tf32")).rows]
    assert len(set(refs)) == 2


def test_a_row_of_other_accuracy_stands_in_no_comparison_however_fast_it_is(field):
    summary = summary_of(*field)
    row = row_named(summary, "lab")
    assert row.train_s.median < row_named(summary, "jetstream").train_s.median
    assert row.gate.outcome == "not shown equivalent"
    assert not row.fronts
    assert {found.topic for found in summary.findings if row.ref in found.refs} == {"Accuracy"}
    assert "(not shown equivalent)" in markdown(summary)


def test_an_accuracy_that_is_too_good_is_not_shown_equivalent_either():
    summary = summary_of(*seeds(), *seeds(platform="lab", accuracy=0.9985))
    assert row_named(summary, "lab").gate.failed


def test_the_gate_says_how_it_judged(field):
    summary = summary_of(*field)
    assert "TOST p < 0.001" in row_named(summary, "jetstream").gate.basis
    assert row_named(summary, "kaggle").gate.basis == "n = 1, and it takes 3"
    assert row_named(summary, "cpu").gate.basis == "its own reference (n = 5)"
    unjudged = summary_of(*seeds(), reference={}).rows[0].gate
    assert (unjudged.outcome, unjudged.basis) == ("not judged", "no reference runs are pinned yet")


def test_the_pinned_reference_is_that_of_the_records_in_results():
    from mnist_gpu.records.rules import check_files

    accuracies = {
        run.record.run_id: run.record.result.test_accuracy
        for run in check_files([REPOSITORY / "results"]).accepted
    }
    assert pinned().items() <= accuracies.items()


@pytest.mark.parametrize(
    ("changes", "doubt"),
    [
        ({"software__git_dirty": True}, "made by a checkout with changes (3 of 3 runs)"),
        ({"verified": False}, "platform not verified (3 of 3 runs)"),
        ({"resources__warnings": ["hot"]}, "disturbed in 3 of 3 runs: see their warnings"),
        ({"resources__throttled_s": 50.0}, "throttled by the CPU quota in 3 of 3 runs"),
        (
            {"created_at": "2026-11-20T10:00:00Z"},
            "ran while another run was on such a machine (3 of 3 runs)",
        ),
    ],
)
def test_what_casts_doubt_is_said_and_keeps_a_row_out_of_comparisons(changes, doubt):
    lab = {**LABORATORY, **changes}
    summary = summary_of(*seeds(), *seeds(3, epoch_s=2.0, **lab))
    row = row_named(summary, "lab")
    assert row.doubts == (doubt,)
    assert not any(row.ref in found.refs for found in summary.findings if found.topic != "Accuracy")
    assert f"doubted: {doubt}" in markdown(summary).replace("\\", "")


def test_a_run_that_failed_before_it_trained_tried_no_seed():
    failed = [
        make_record(seed=seed, status="failed", status_reason="no memory").model_copy(
            update={"epochs": []}
        )
        for seed in (0, 1)
    ]
    row = row_named(summary_of(*failed, *(make_record(seed=seed) for seed in (2, 3, 4))), "cpu")
    assert row.doubts == ("seeds left out of the published list: 0, 1",)


def test_whoever_takes_the_id_of_a_reference_run_is_doubted():
    records = seeds()
    summary = summary_of(*records, reference={record.run_id: 0.9899 for record in records})
    row = row_named(summary, "cpu")
    assert row.gate.basis != "its own reference (n = 5)"
    assert row.doubts == ("has the id of a reference run, and is another (5 of 5 runs)",)


def test_seeds_that_are_left_out_or_not_of_the_list_are_doubts():
    picked = summary_of(*(make_record(seed=seed) for seed in (1, 3, 4))).rows[0]
    assert picked.doubts == ("seeds left out of the published list: 0, 2",)
    others = summary_of(*(make_record(seed=seed) for seed in (0, 1, 2, 3, 4, 11))).rows[0]
    assert others.doubts == ("seeds that are not of the published list: 11",)


def test_a_seed_whose_run_failed_is_not_left_out():
    failed = make_record(seed=1, status="failed", status_reason="out of memory")
    row = summary_of(failed, *(make_record(seed=seed) for seed in (0, 2, 3))).rows[0]
    assert row.doubts == ()


def test_rented_machines_that_saw_nobody_else_may_run_side_by_side():
    together = {"created_at": "2026-11-20T10:00:00Z", "platform": "hpc", "kind": "hpc"}
    alone = seeds(3, resources__foreign_cpu_percent=1.0, **together)
    assert summary_of(*alone).rows[0].doubts == ()
    crowded = seeds(3, resources__foreign_cpu_percent=80.0, **together)
    assert summary_of(*crowded).rows[0].doubts
    home = seeds(3, resources__foreign_cpu_percent=1.0, **{**together, "kind": "local"})
    assert summary_of(*home).rows[0].doubts


def test_a_doubt_from_the_rules_stands_on_the_row_of_its_run():
    records = seeds()
    given = {records[0].run_id: ["the commit is younger than the run"]}
    (row,) = summary_of(*records, given_doubts=given).rows
    assert row.doubts == ("the commit is younger than the run (1 of 5 runs)",)


def test_copied_epoch_times_are_pointed_out():
    summary = summary_of(make_record(seed=1), make_record(seed=1, run_id="another-run-id"))
    assert "epoch times are those of another run (2 of 2 runs)" in summary.rows[0].doubts


def test_efficiency_is_time_on_one_over_n_times_time_on_n():
    summary = summary_of(
        *on_devices(1, 8.0),
        *on_devices(2, 5.0),
        *on_devices(4, 4.0),
        *on_devices(8, 1.0, engine="torch"),
    )
    found = [(entry.devices, round(entry.efficiency.value, 4)) for entry in summary.scaling]
    assert found == [(2, 0.8), (4, 0.5)]
    assert all(entry.base.n == 3 and entry.efficiency.interval for entry in summary.scaling)
    text = markdown(summary)
    assert "Efficiency against number of devices" in text
    assert re.search(
        r"\| jetstream-\S+ against jetstream-\S+ \| Jet.*, lightning \| 2 \|.*\| 80 % \(95 % ",
        text,
    )


def test_rows_on_other_cards_or_of_other_work_are_no_measure_of_efficiency():
    other = [
        make_record(
            seed=0, platform="jetstream", epoch_s=8.0, **{**A100, "accelerator_name": "NVIDIA H100"}
        ),
        make_record(seed=1, platform="jetstream", epoch_s=8.0, epochs=3, **A100),
    ]
    summary = summary_of(*other, *on_devices(2, 5.0))
    assert summary.scaling == []
    assert "Efficiency" not in markdown(summary)
