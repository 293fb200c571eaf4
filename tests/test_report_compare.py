"""`--compare`, and what others have published: beside the rows, never among them."""

import re

import pytest
import yaml

from mnist_gpu.report.__main__ import main
from mnist_gpu.report.published import find_published
from mnist_gpu.report.table import markdown, published_markdown
from tests.records import make_record, write_records
from tests.test_report import A100, LABORATORY, REPOSITORY, row_named, seeds, summary_of


def compared(capsys, *arguments):
    assert main(["--compare", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_two_folders_are_compared_by_ratios_of_medians_with_intervals(tmp_path, capsys):
    a = write_records(tmp_path / "a", seeds(epoch_s=18.0))
    b = write_records(tmp_path / "b", seeds(epoch_s=9.0, **LABORATORY))
    text = compared(capsys, a, b)
    found = re.search(r"training time: ([\d.]+) times \(95 % interval ([\d.]+) to ([\d.]+)\)", text)
    ratio, low, high = map(float, found.groups())
    assert ratio == pytest.approx(2.0, abs=0.01)
    assert low < 2.0 < high
    assert "- cpu_model: Intel(R) Xeon(R) CPU @ 2.20GHz | AMD Ryzen 9 7950X" in text
    assert "which of the 3 differences makes the ratio" in text


def test_one_run_against_one_has_an_interval_over_its_epochs_and_says_so(tmp_path, capsys):
    a = write_records(tmp_path / "a", seeds(1, epoch_s=18.0))
    b = write_records(tmp_path / "b", seeds(1, epoch_s=9.0))
    text = compared(capsys, a / "run00000" / "record.json", b)
    assert re.search(r"training time: 2\.\d+ times \(95 % interval 1\.9\d+ to 2\.0\d+\)", text)
    assert text.count("the intervals are over its epochs and say nothing of how runs differ") == 2
    assert re.search(r"whole run: 1\.9\d times \(", text)
    assert "without an interval: it takes 3 runs on both sides" in text


def test_rows_are_compared_by_their_names(tmp_path, capsys):
    records = [*seeds(), *seeds(engine="torch", epoch_s=8.8, software__git_commit="1" * 40)]
    results = write_records(tmp_path / "results", records)
    names = [row.ref for row in summary_of(*records).rows]
    assert main([str(results), "--compare", *names]) == 0
    text = capsys.readouterr().out
    assert "- engine: torch | lightning" in text
    assert "- git_commit: 111111111111 | 000000000000" in text


def test_what_cannot_be_concluded_is_said(tmp_path, capsys):
    same = write_records(tmp_path / "a", seeds())
    other = write_records(tmp_path / "b", seeds(software__git_dirty=True))
    text = compared(capsys, same, other)
    assert "which of the two trains faster" in text
    assert "is doubted: made by a checkout with changes (5 of 5 runs)" in text
    assert "a cause of any ratio: nothing that is recorded differs" in text
    assert "that both trained to the same accuracy" in text


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([], "no acceptable record of a completed run there"),
        ([*seeds(1), *seeds(1, engine="torch")], "holds 2 rows; name one of them: cpu-"),
    ],
)
def test_a_side_that_is_not_one_row_is_refused_in_a_line(tmp_path, capsys, records, said):
    (tmp_path / "a").mkdir()
    write_records(tmp_path / "a", records)
    b = write_records(tmp_path / "b", seeds(1))
    assert main(["--compare", str(tmp_path / "a"), str(b)]) == 1
    assert said in capsys.readouterr().err


def test_a_name_that_is_no_row_is_refused_in_a_line(tmp_path, capsys):
    results = write_records(tmp_path / "results", seeds(1))
    assert main([str(results), "--compare", "cpu-lightning-000000", str(results)]) == 1
    assert "cpu-lightning-000000: no acceptable record" in capsys.readouterr().err


def test_without_paths_and_names_the_usage_is_shown():
    with pytest.raises(SystemExit) as exit_:
        main([])
    assert exit_.value.code == 2


def test_every_published_entry_has_a_source_and_says_what_differs():
    published = find_published([REPOSITORY / "results"])
    assert len(published.entries) >= 30
    assert all(entry.source and entry.differs_in for entry in published.entries)
    assert published.as_of == "2026-11-25"


def test_published_numbers_stand_in_a_table_of_their_own_and_in_no_finding():
    published = find_published([REPOSITORY / "results"])
    summary = summary_of(*seeds(), published=published)
    text = published_markdown(summary)
    assert text.startswith("<details><summary>Published elsewhere: what 36 others report")
    assert "| V100S | 13.3 | PyTorch |" in text
    assert "V100S" not in markdown(summary)
    assert published_markdown(summary_of()) == "TBD\n"


@pytest.mark.parametrize(
    ("epoch_s", "far"), [(0.5, True), (1.0, False), (5.0, False), (20.0, False), (30.0, True)]
)
def test_a_row_far_outside_the_published_range_of_its_kind_gets_a_note(epoch_s, far):
    published = find_published([REPOSITORY / "results"])
    rows = seeds(3, platform="jetstream", kind="hpc", epoch_s=epoch_s, **A100)
    row = row_named(summary_of(*rows, published=published), "jetstream")
    said = "far outside of what is published of a GPU of the A100's class (1.5 to 11 s)"
    assert any(said in note for note in row.notes) is far
    assert not row.doubts


def test_tuned_rows_and_unknown_kinds_get_no_note_from_what_is_published():
    published = find_published([REPOSITORY / "results"])
    tuned = {"engine__division": "tuned", "engine__switches": {"compile": True}}
    records = [make_record(seed=0, epoch_s=0.1, **A100, **tuned)]
    records += [make_record(seed=0, accelerator="cuda", accelerator_name="NVIDIA GB10")]
    for row in summary_of(*records, published=published).rows:
        assert row.notes == ("n = 1: no spread to judge by",)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seconds_per_epoch": -1}, "entries.0.seconds_per_epoch"),
        ({"source": None}, "entries.0.source"),
        ({"surprise": 1}, "entries.0.surprise"),
    ],
)
def test_a_published_file_that_is_not_as_it_should_be_is_refused_in_a_line(
    tmp_path, capsys, change, said
):
    results = write_records(tmp_path / "results", seeds(1))
    entry = {
        "hardware": "x", "seconds_per_epoch": 1, "framework": None, "network": None,
        "batch_size": None, "differs_in": "x", "source": "x", "published": None, **change,
    }  # fmt: skip
    (results / "published.yaml").write_text(yaml.safe_dump({"entries": [entry]}))
    assert main([str(results), "--out", str(tmp_path / "out")]) == 1
    assert f"published.yaml: {said}" in capsys.readouterr().err
