"""A report, and whatever else reads records, leaves the files of others as they were."""

import os
from pathlib import Path

import pytest

from mnist_gpu import files
from mnist_gpu.report.__main__ import main as report
from mnist_gpu.validate import main as validate
from tests.foreign import content, write
from tests.records import make_record


@pytest.mark.parametrize("name", ["index.html", "runs.csv", "runs.parquet", ".mnist-gpu.sha256"])
def test_a_report_does_not_overwrite_a_page_or_table_of_somebody_else(tmp_path, capsys, name):
    records = write(tmp_path / "records")
    out, readme = tmp_path / "out", tmp_path / "README.md"
    readme.write_text("<!-- results:begin -->\n<!-- results:end -->\n")
    out.mkdir()
    (out / name).write_bytes(b"mine")
    before = content(tmp_path)
    assert report([records, "--out", str(out), "--readme", str(readme)]) == 1
    assert content(tmp_path) == before
    assert name in capsys.readouterr().err


def test_a_report_renews_its_own_files_until_somebody_changes_one(tmp_path):
    records, out = write(tmp_path / "records"), tmp_path / "out"
    (out / "deep").mkdir(parents=True)
    (out / "notes.txt").write_bytes(b"mine")
    assert report([records, "--out", str(out)]) == 0
    write(tmp_path / "records", seed=1)
    first = (out / "runs.csv").read_bytes()
    assert report([records, "--out", str(out)]) == 0
    assert (out / "runs.csv").read_bytes() != first
    with (out / "runs.csv").open("a") as file:
        file.write("my own line\n")
    before = content(out)
    assert report([records, "--out", str(out)]) == 1
    assert content(out) == before


def test_a_report_that_could_not_be_finished_is_still_its_own(tmp_path, monkeypatch):
    records, out = write(tmp_path / "records"), tmp_path / "out"
    assert report([records, "--out", str(out)]) == 0
    write(tmp_path / "records", seed=1)
    replace = os.replace

    def full(source, target) -> None:
        if Path(target).name == "index.html":
            raise OSError(28, "No space left on device")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        assert report([records, "--out", str(out)]) == 1
    assert not list(out.glob(".*.partial"))
    assert report([records, "--out", str(out)]) == 0


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_readme_keeps_everything_outside_its_markers(tmp_path, end):
    records = write(tmp_path / "records")
    around = b"# mine\r\n\n\xc3\xa9\t\r\n", b"\nand\r\nthis", b""
    begin, finish = b"<!-- results:begin -->" + end, b"<!-- results:end -->"
    for last in around:
        real, link = tmp_path / "real.md", tmp_path / "link.md"
        real.write_bytes(around[0] + begin + finish + last)
        real.chmod(0o640)
        link.unlink(missing_ok=True)
        link.symlink_to(real)
        arguments = [records, "--out", str(tmp_path / "out"), "--readme", str(link)]
        assert report(arguments) == 0
        text = real.read_bytes()
        assert text.startswith(around[0] + begin)
        assert text.endswith(finish + last)
        assert len(text) > 500
        assert link.is_symlink()
        assert real.stat().st_mode & 0o777 == 0o640
        assert report([records, "--check", "--readme", str(link)]) == 0


@pytest.mark.parametrize("readme", ["", "no markers", "<!-- results:end --><!-- results:begin -->"])
def test_a_readme_without_its_markers_is_left_and_no_page_is_written(tmp_path, readme):
    records, path = write(tmp_path / "records"), tmp_path / "README.md"
    path.write_text(readme)
    before = content(tmp_path)
    assert report([records, "--out", str(tmp_path / "out"), "--readme", str(path)]) == 1
    assert content(tmp_path) == before


def test_a_file_that_must_be_new_is_never_written_over(tmp_path, monkeypatch):
    path = tmp_path / "record.json"
    for link in (os.link, None):
        if link is None:
            monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError()))
        files.write_whole(path, b"first", new=True)
        with pytest.raises(FileExistsError):
            files.write_whole(path, b"second", new=True)
        assert path.read_bytes() == b"first"
        assert os.listdir(tmp_path) == ["record.json"]
        path.unlink()


@pytest.mark.parametrize(
    ("text", "encoding", "said"),
    [
        ("\ufeff{}", "utf-8", "UTF-8 with a byte order mark"),
        ("{}", "utf-16", "UTF-16"),
        ("{}", "utf-32", "UTF-32"),
    ],
)
def test_a_record_in_another_encoding_is_told_which_one_it_is_in(
    tmp_path, capsys, text, encoding, said
):
    record = make_record().model_dump_json()
    (tmp_path / "mine.json").write_bytes(text.replace("{}", record).encode(encoding))
    assert validate([str(tmp_path)]) == 1
    assert f"mine.json: file: is {said}: save it as UTF-8" in capsys.readouterr().out


def test_a_link_to_a_record_counts_once_and_one_to_nowhere_is_refused(tmp_path, capsys):
    write(tmp_path / "elsewhere")
    results = tmp_path / "results"
    (results / "a").mkdir(parents=True)
    (results / "a" / "record.json").symlink_to(tmp_path / "elsewhere" / "0" / "record.json")
    (results / "again").symlink_to(tmp_path / "elsewhere")
    (results / "loop").symlink_to(results)
    assert validate([str(results)]) == 0
    assert capsys.readouterr().err == "1 accepted, 0 refused\n"
    (results / "record.json").symlink_to("nowhere")
    assert validate([str(results)]) == 1
    assert "record.json: file: cannot be read" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("number", "advice"),
    [(28, "make room"), (13, "you may write to"), (24, "ulimit -n"), (12, "out of memory")],
)
def test_what_to_do_fits_what_the_system_refused(number, advice):
    assert advice in files.trouble(OSError(number, os.strerror(number), "x"))
    assert "write to" not in files.trouble(OSError(5, os.strerror(5), "x"))
