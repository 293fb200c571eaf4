"""`--compare`, and what others have published: beside the rows, never among them."""

import re
from pathlib import Path

import pytest
import yaml

from mnist_gpu.errors import UserError
from mnist_gpu.report.__main__ import main
from mnist_gpu.report.published import find_published
from mnist_gpu.report.table import markdown, published_markdown
from tests.records import make_record, write_records
from tests.summaries import A100, LABORATORY, row_named, seeds, summary_of

REPOSITORY = Path(__file__).resolve().parents[1]


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


def test_what_is_divided_is_said_with_its_unit(tmp_path, capsys):
    a = write_records(tmp_path / "a", seeds(epoch_s=18.0))
    b = write_records(tmp_path / "b", seeds(epoch_s=9.0, resources__rss_peak_mib=450.0))
    lines = compared(capsys, a, b).splitlines()
    assert "A divided by B, ratios of medians:" in lines
    [trained] = [line for line in lines if line.startswith("- training time")]
    assert re.search(r"\([\d,]+ s against [\d,]+ s\)$", trained)
    [memory] = [line for line in lines if line.startswith("- peak memory")]
    assert "(900 MiB against 450 MiB)" in memory


def test_two_runs_of_one_row_are_told_apart_by_their_letters(tmp_path, capsys):
    results = write_records(tmp_path / "results", seeds(2))
    sides = [results / f"run0000{n}" / "record.json" for n in (0, 1)]
    text = compared(capsys, *sides)
    assert "- A has 1 run: " in text
    assert "- B has 1 run: " in text
    assert "(the accuracy gate says: A not judged, B not judged)" in text


def test_of_an_interval_that_is_not_there_nothing_is_said(tmp_path, capsys):
    sides = [write_records(tmp_path / side, seeds(1, epochs=2)) for side in "ab"]
    text = compared(capsys, *sides)
    assert "the intervals are" not in text
    assert text.count("has 1 run: an interval takes 3 runs, or as many epochs") == 2


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


def test_a_folder_of_several_rows_is_said_to_be_where_their_names_are_looked_for(tmp_path, capsys):
    a = write_records(tmp_path / "a", [*seeds(1), *seeds(1, engine="torch")])
    assert main(["--compare", str(a), str(a)]) == 1
    said = capsys.readouterr().err
    name = re.search(r"cpu-torch-\w+", said)[0]
    assert f"; with {a} as PATH" in said
    assert main([str(a), "--compare", name, name]) == 0


@pytest.mark.parametrize("name", ["cpu-lightning-000000", "a" * 300])
def test_a_name_that_is_no_row_is_refused_in_a_line(tmp_path, capsys, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    results = write_records(tmp_path / "records", seeds(1))
    assert main([str(results), "--compare", name, str(results)]) == 1
    said = f"--compare {name}: no such file or folder"
    assert f"{said}, and no row of that name" in capsys.readouterr().err
    # without PATHs rows are looked for in results/, and here is none
    assert main(["--compare", str(results), name]) == 1
    assert f"{said}; and where rows are looked for, results, there is nothing" in (
        capsys.readouterr().err
    )


def test_a_name_with_a_slip_is_answered_with_the_one_that_was_meant(tmp_path, capsys):
    records = seeds(1)
    results, name = write_records(tmp_path, records), summary_of(*records).rows[0].ref
    assert main([str(results), "--compare", name[:-1], str(results)]) == 1
    assert f"did you mean {name}?" in capsys.readouterr().err


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


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"as_of: 2020-13-45\n", "cannot be read (month must be in 1..12"),
        (b"far: " + b"9" * 5000, "cannot be read (Exceeds the limit"),
        (b"[" * 5000, "cannot be read ("),
        (b"as_of: \xe9\n", "cannot be read ("),
        (b"- 1\n", "cannot be read (it holds no keys; wanted are as_of, entries, far, ranges)"),
        (b"ranges: [{kind: x, accelerator: '(', seconds_per_epoch: 1}]", "ranges.0.accelerator: "),
        (
            b"ranges: [{kind: x, accelerator: cpu, seconds_per_epoch: [2, 1]}]",
            "ranges.0.seconds_per_epoch: Value error, the least stands before the most",
        ),
    ],
)
def test_whatever_stands_in_a_published_file_is_answered_in_a_line(tmp_path, content, said):
    (tmp_path / "published.yaml").write_bytes(content)
    with pytest.raises(UserError) as exc:
        find_published([tmp_path])
    assert f"published.yaml: {said}" in str(exc.value)


def test_an_empty_published_file_publishes_nothing(tmp_path):
    (tmp_path / "published.yaml").touch()
    assert find_published([tmp_path]).entries == ()
