"""`python -m mnist_gpu.report`: what the table and the findings say of given records."""

import csv
import json
import re
from pathlib import Path

import pytest

from mnist_gpu.records.run import Run
from mnist_gpu.records.store import write_record
from mnist_gpu.report.__main__ import main
from mnist_gpu.report.document import BLOCKS, has_markers
from mnist_gpu.report.judgement import pinned
from mnist_gpu.report.summary import summarise
from mnist_gpu.report.table import escape, markdown, missing, sections
from tests.records import make_record, write_records

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
REPOSITORY = Path(__file__).resolve().parents[1]
A100 = {"accelerator": "cuda", "accelerator_name": "NVIDIA A100-SXM4-40GB"}
SU = {
    "amount_per_hour": 64.0,
    "unit": "SU",
    "source": "https://example.org/su",
    "as_of": "2026-10-01",
    "reason": None,
}
CU = {**SU, "amount_per_hour": 0.08, "unit": "CU"}
FREE = {"free": True, "reason": "free of charge"}
LABORATORY = {
    "platform": "lab",
    "hardware__cpu_model": "AMD Ryzen 9 7950X",
    "hardware__cpu_family_model_stepping": "25/97/2",
}


def summary_of(*records, **more):
    """What the report says; the gate's reference is Lightning on the CPU, where it is there."""
    reference = {
        record.run_id: record.result.test_accuracy
        for record in records
        if (record.platform.name, record.engine.name) == ("cpu", "lightning")
        and record.workload.standard
    }
    runs = [Run.of(Path("record.json"), record) for record in records]
    return summarise(runs, **{"reference": reference, **more})


def seeds(count=5, **changes):
    epoch_s = changes.pop("epoch_s", 9.0)
    accuracy = changes.pop("accuracy", 0.9912)
    return [
        make_record(
            seed=seed,
            epoch_s=epoch_s * (1 + 0.002 * seed),
            accuracy=accuracy + 0.0002 * (seed % 3),
            **changes,
        )
        for seed in range(count)
    ]


@pytest.fixture
def field():
    """Records of a small field: two engines here, a GPU, two clouds, one that trains badly."""
    return [
        *seeds(),
        *seeds(engine="torch", epoch_s=8.8),
        *seeds(engine="keras", epoch_s=12.0),
        *seeds(platform="jetstream", kind="hpc", epoch_s=1.9, price=SU, **A100),
        *seeds(platform="colab", kind="cloud", engine="tensorflow", epoch_s=20.0, price=CU),
        *seeds(count=1, platform="kaggle", kind="cloud", epoch_s=7.0, price=FREE),
        *seeds(count=3, platform="lab", epoch_s=1.0, accuracy=0.981, **A100),
    ]


def row_named(summary, platform, engine="lightning"):
    (row,) = [
        row for row in summary.rows if (row.key.platform, row.key.engine) == (platform, engine)
    ]
    return row


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


def test_the_four_questions_are_answered_or_say_what_is_missing(field):
    for records in ([], seeds(), field):
        topics = {finding.topic for finding in summary_of(*records).findings}
        assert {
            "Accelerators",
            "Cloud against local",
            "Resource use",
            "Cost-effectiveness",
        } <= topics
    assert all("Missing: " in found.text for found in summary_of().findings)


def test_the_promised_rows_come_first_and_are_tbd_without_records(field):
    (standard, *_) = sections(summary_of())
    assert [line.cells[1] for line in standard.lines] == [
        "Keras on JupyterHub (CPU)",
        "Kaggle",
        "M1 MacBook (bare metal)",
        "TensorFlow on Google Colab",
        "GPU on Jetstream2",
    ]
    assert all(line.cells[4] == "TBD" for line in standard.lines)
    (standard, *_) = sections(summary_of(*field))
    tbd = {line.cells[1]: line.cells[4] == "TBD" for line in standard.lines[:5]}
    assert list(tbd.values()) == [True, False, True, False, False]
    assert len(standard.lines) == 2 + 7
    rehearsed = summary_of(*seeds(platform="jupyterhub", engine="keras", platform__rehearsal=True))
    assert "Keras on JupyterHub (CPU)" in missing(rehearsed)


def test_no_table_mixes_standard_runs_with_others():
    summary = summary_of(
        *seeds(count=2),
        *seeds(count=2, epochs=3),
        *seeds(count=1, epochs=3, dataset="synthetic"),
        *seeds(count=1, verified=False, platform="lab"),
        *seeds(count=1, segments=2, engine="keras"),
        make_record(seed=7, status="failed", status_reason="out of memory"),
    )
    assert [section.title for section in sections(summary)] == [
        "Standard runs",
        "Runs that deviate from the protocol",
        "Runs on drawn or custom data",
        "Runs whose platform could not be verified",
        "Runs that were interrupted and resumed",
    ]
    assert summary.unfinished == {"failed": 1}
    assert "Not shown: 1 failed" in markdown(summary)


def test_copied_epoch_times_are_pointed_out():
    summary = summary_of(make_record(seed=1), make_record(seed=1, run_id="another-run-id"))
    assert "epoch times are those of another run (2 of 2 runs)" in summary.rows[0].doubts


def test_text_is_plain_in_markdown():
    assert escape("a|b*c_[d](https://e)<f>`g`") == (r"a\|b\*c\_\[d\](https&#58;//e)\<f\>\`g\`")


def test_an_empty_folder_reports_the_promised_rows(tmp_path, capsys):
    (tmp_path / "results").mkdir()
    assert main([str(tmp_path / "results"), "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.count("TBD") == 30
    assert "TBD" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")


def test_the_readme_is_renewed_between_its_markers_and_checked(tmp_path, field, capsys):
    results = write_records(tmp_path / "results", field)
    readme = tmp_path / "README.md"
    readme.write_text(f"# before\n{BEGIN}\nold\n{END}\nafter\n")
    arguments = [str(results), "--readme", str(readme)]
    assert main([*arguments, "--check"]) == 1
    assert readme.read_text().count("old") == 1
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 0
    assert main([*arguments, "--check"]) == 0
    text = readme.read_text()
    assert text.startswith(f"# before\n{BEGIN}\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "| GPU on Jetstream2 | lightning | NVIDIA A100-SXM4-40GB |" in text
    assert "Published" not in text
    write_record(make_record(seed=40, platform="lab2"), results / "new.json")
    assert main([*arguments, "--check"]) == 1


@pytest.mark.parametrize("text", ["", f"{END} {BEGIN}", f"{BEGIN} {BEGIN} {END}"])
def test_a_readme_without_its_markers_is_left_alone(tmp_path, text, capsys):
    (tmp_path / "README.md").write_text(text)
    (tmp_path / "results").mkdir()
    arguments = [str(tmp_path / "results"), "--readme", str(tmp_path / "README.md"), "--check"]
    assert main(arguments) == 1
    assert "each once and in this order" in capsys.readouterr().err
    assert (tmp_path / "README.md").read_text() == text


def test_refused_records_are_named_and_left_out(tmp_path, capsys):
    good, bad = make_record(seed=1), make_record(seed=2, timing__total_s=1.0)
    results = write_records(tmp_path / "results", [good, bad])
    assert main([str(results), "--out", str(tmp_path / "out")]) == 0
    assert "run00001/record.json: timing.total_s" in capsys.readouterr().err
    with (tmp_path / "out" / "runs.csv").open(newline="") as file:
        assert [row["run_id"] for row in csv.DictReader(file)] == [good.run_id]


def test_when_nothing_is_acceptable_the_report_fails(tmp_path, capsys):
    results = write_records(tmp_path / "results", [make_record(timing__total_s=1.0)])
    assert main([str(results), "--out", str(tmp_path / "out")]) == 1
    assert "nothing to report" in capsys.readouterr().err


def test_all_runs_are_exported_as_csv_and_parquet(tmp_path, field):
    import pyarrow.parquet as pq

    results = write_records(tmp_path / "results", field)
    assert main([str(results), "--out", str(tmp_path / "out")]) == 0
    with (tmp_path / "out" / "runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    table = pq.read_table(tmp_path / "out" / "runs.parquet").to_pylist()
    assert len(rows) == len(table) == len(field)
    for row, other in zip(rows, table, strict=True):
        assert float(row["timing.train_s"]) == other["timing.train_s"]
    assert {row["cost.unit"] for row in rows} == {"SU", "CU", ""}


def test_no_cell_of_the_csv_is_a_formula(tmp_path):
    record = make_record(hardware__cpu_model="=HYPERLINK(1)", software__python="@SUM(1)")
    results = write_records(tmp_path / "results", [record])
    main([str(results), "--out", str(tmp_path / "out")])
    text = (tmp_path / "out" / "runs.csv").read_text()
    assert "'=HYPERLINK(1)" in text
    assert ",=HYPERLINK" not in text
    assert "'@SUM" in text


def test_the_report_is_the_same_every_time(tmp_path, field):
    results = write_records(tmp_path / "results", field)
    pages = []
    for name in ("one", "two"):
        main([str(results), "--out", str(tmp_path / name)])
        pages.append((tmp_path / name / "index.html").read_bytes())
    assert pages[0] == pages[1]


def test_the_work_grows_no_faster_than_the_number_of_records(monkeypatch):
    from mnist_gpu.report import groups, statistics

    def operations(count):
        calls = 0

        def counted(function):
            def wrapper(*arguments):
                nonlocal calls
                calls += 1
                return function(*arguments)

            return wrapper

        monkeypatch.setattr(groups.Key, "without", counted(original_without))
        monkeypatch.setattr("mnist_gpu.report.rows.time_to", counted(statistics.time_to))
        monkeypatch.setattr("mnist_gpu.report.rows.run_cost", counted(original_cost))
        records = [
            make_record(seed=n % 5, platform=f"p{n // 5}", epochs=50, epoch_s=9 + n / 999)
            for n in range(count)
        ]
        markdown(summary_of(*records))
        return calls

    from mnist_gpu.report.cost import run_cost as original_cost

    original_without = groups.Key.without
    assert operations(200) <= 2.2 * operations(100)


def test_readme_and_docs_of_this_repository_have_their_blocks_and_are_current(capsys, monkeypatch):
    monkeypatch.undo()  # its records name commits that are
    readme = REPOSITORY / "README.md"
    for document, marker in BLOCKS:
        assert has_markers(REPOSITORY / document, marker), (document, marker)
    assert main([str(REPOSITORY / "results"), "--readme", str(readme), "--check"]) == 0, (
        capsys.readouterr().out
    )


def test_the_page_carries_no_text_of_a_record_as_markup(tmp_path):
    from mnist_gpu.report.page import page

    evil = "</script><script>alert(1)</script>"
    text = page(summary_of(make_record(hardware__cpu_model=evil, platform__label=evil)))
    assert evil not in text
    data = text.split('id="data">')[1].split("</script>")[0]
    assert json.loads(data)["rows"][0]["machine"].startswith(evil)


def on_devices(devices, epoch_s, **changes):
    return [
        make_record(
            seed=seed,
            platform="jetstream",
            epoch_s=epoch_s * (1 + 0.002 * seed),
            workload__standard=devices == 1,
            workload__devices=devices,
            workload__deviations=[f"devices {devices} (standard: 1)"] * (devices > 1),
            hardware__accelerator_count=devices,
            run_id=f"devices-{devices}-{seed}-{changes.get('engine', 'lightning')}",
            **A100,
            **changes,
        )
        for seed in range(3)
    ]


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


def test_a_document_that_is_not_current_is_named(tmp_path, capsys):
    results = write_records(tmp_path / "results", seeds(3))
    (tmp_path / "docs").mkdir()
    document = tmp_path / "docs" / "reliability.md"
    markers = "<!-- checkpoints:begin -->\n<!-- checkpoints:end -->\n"
    document.write_text(markers)
    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}\n{END}\n")
    arguments = [str(results), "--readme", str(readme), "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    assert "is 0.17% to 0.17% of `train_s` in the 3 stock records" in document.read_text()
    assert main([*arguments, "--check"]) == 0
    document.write_text(markers)
    capsys.readouterr()
    assert main([*arguments, "--check"]) == 1
    assert f"{document} is not current" in capsys.readouterr().out


def test_tuned_and_open_rows_stand_beneath_their_own_stock_row():
    tuned = {"engine__division": "tuned", "engine__switches": {"compile": True}}
    summary = summary_of(
        *seeds(2, epoch_s=9.0), *seeds(2, epoch_s=1.0, **tuned), *seeds(2, platform="lab", **tuned)
    )
    (standard, *_) = sections(summary)
    shown = [line.cells[1:3] for line in standard.lines if line.cells[0]]
    assert shown == [
        ("CPU on bare metal or a virtual machine", "lightning"),
        ("↳ CPU on bare metal or a virtual machine", "lightning, tuned (compile=true)"),
        ("lab machine", "lightning, tuned (compile=true)"),
    ]
