"""`python -m mnist_gpu.report`: what it writes, renews, refuses and exports."""

import csv
import json
from pathlib import Path

import pytest

from mnist_gpu.records.store import write_record
from mnist_gpu.report.__main__ import main
from mnist_gpu.report.document import BLOCKS, has_markers
from mnist_gpu.report.table import markdown
from tests.records import make_record, write_records
from tests.summaries import seeds, summary_of

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
REPOSITORY = Path(__file__).resolve().parents[1]


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


def test_a_part_of_the_results_leaves_alone_what_others_published(tmp_path):
    results = write_records(tmp_path / "results", seeds(1))
    readme, kept = tmp_path / "README.md", "<!-- published:begin -->\nkept\n<!-- published:end -->"
    readme.write_text(f"{BEGIN}\n{END}\n{kept}\n")
    assert main([str(results), "--readme", str(readme), "--out", str(tmp_path / "out")]) == 0
    assert kept in readme.read_text()


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
