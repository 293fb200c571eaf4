"""What launchers, bundles and measurements write leaves the files of others as they were."""

import json
import shlex
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from mnist_gpu.bench import tables
from mnist_gpu.launch import bundle, entry
from mnist_gpu.launch.marked import digest
from mnist_gpu.parity import pairs
from mnist_gpu.records.store import read_record
from mnist_gpu.report.__main__ import main as report
from tests.foreign import content, fill, write
from tests.records import make_document

# takes the place of a platform's client: "runs" what it is sent, and answers with a given record
CLIENT = """
import json, pathlib, re, sys
pathlib.Path("called").touch()
[tag] = re.findall(r'tag[\\\\]*": [\\\\]*"([0-9a-f]{12})', pathlib.Path(sys.argv[-1]).read_text())
given = json.loads(pathlib.Path("result.json").read_text())
print("MNIST_GPU_RESULT", json.dumps({"tag": tag, "status": "completed", **given}))
"""
# where a record that was tampered with may try to go
ASTRAY = {
    "the folder above": {"platform": ".."},
    "the folder itself": {"platform": "."},
    "below": {"platform": "a/b"},
    "far away": {"platform": "/{tmp}/foreign"},
    "nowhere": {"platform": ""},
    "by its time": {"created_at": "../../foreign/deep"},
    "by its number": {"run_id": "/../.."},
    "by its seed": {"seed": "0/../../.."},
}


def launched(work: Path, monkeypatch: pytest.MonkeyPatch, record: dict, *given: str) -> int:
    """Exit code of the Colab launcher, whose run gives `record`; all launchers save as it does."""
    (work / "result.json").write_text(json.dumps({"record": record, "sha256": digest(record)}))
    (work / "client.py").write_text(CLIENT)
    client = [
        "--client",
        shlex.join([sys.executable, str(work / "client.py")]),
        "--source",
        "installed",
    ]
    monkeypatch.chdir(work)
    colab = import_module("mnist_gpu.launch.colab")
    return exit_code(lambda: colab.main([*client, *given]))


def exit_code(main: Callable[[], int]) -> int:
    with pytest.raises(SystemExit) as ended:
        entry.run(main)
    return ended.value.code


@pytest.fixture
def work(tmp_path: Path) -> Path:
    path = tmp_path / "work"
    path.mkdir()
    return path


def test_a_record_that_comes_home_goes_beside_what_is_there_and_over_nothing(
    work, monkeypatch, capsys
):
    record = make_document(platform="colab")
    for folder in ("outputs", "outputs/colab"):
        fill(work / folder)
    before = content(work / "outputs")
    assert launched(work, monkeypatch, record) == 0
    after = content(work / "outputs")
    new = sorted(after.keys() - before.keys())
    assert {name: after[name] for name in before} == before
    assert [Path(name).name for name in new][1:] == ["record.json"]
    path = work / "outputs" / new[1]
    assert read_record(path).platform.name == "colab"
    path.write_bytes(b"mine now")
    kept = content(work / "outputs")
    assert launched(work, monkeypatch, record) == 1
    assert content(work / "outputs") == kept
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize("way", ASTRAY)
def test_a_record_that_names_a_way_out_of_the_outputs_is_refused(
    work, tmp_path, monkeypatch, capsys, way
):
    record = make_document(platform="colab")
    change = {key: value.format(tmp=tmp_path) for key, value in ASTRAY[way].items()}
    record["platform"]["name"] = change.pop("platform", "colab")
    record["workload"]["seed"] = change.pop("seed", 0)
    record |= change
    fill(tmp_path / "foreign")
    fill(work / "outputs")
    before = content(tmp_path / "foreign"), content(work / "outputs")
    assert launched(work, monkeypatch, record) == 1
    assert (content(tmp_path / "foreign"), content(work / "outputs")) == before
    known = ["called", "client.py", "outputs", "result.json"]
    assert sorted(path.name for path in work.iterdir()) == known
    assert "the record is not valid" in capsys.readouterr().err


@pytest.mark.parametrize("out", ["notes.txt", "notes.txt/deeper", "link"])
def test_a_place_that_cannot_take_the_record_is_refused_before_anything_is_sent(
    work, tmp_path, monkeypatch, capsys, out
):
    foreign = fill(tmp_path / "foreign")
    (foreign / "link").symlink_to("nowhere")
    before = content(foreign)
    record = make_document(platform="colab")
    assert launched(work, monkeypatch, record, "--out", str(foreign / out)) == 1
    assert content(foreign) == before
    assert not (work / "called").exists()
    assert capsys.readouterr().err.startswith("error: --out ")


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    folder = tmp_path / "mnist"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}-ubyte.gz").write_bytes(b"digits")
    return folder


@pytest.mark.parametrize("out", [".", "notes.txt", "notes.txt/deeper", "link", "link.zip"])
def test_a_bundle_is_not_built_where_anything_is(tmp_path, mnist, monkeypatch, capsys, out):
    foreign = fill(tmp_path / "foreign")
    for name in ("link", "link.zip"):
        (foreign / name).symlink_to(tmp_path / "nowhere")
    before = content(foreign)
    monkeypatch.setattr(bundle, "_do", lambda command: pytest.fail("this took minutes"))
    given = ["--mnist", str(mnist), "--no-dependencies", "--out", str(foreign / out)]
    assert exit_code(lambda: bundle.main(given)) == 1
    assert content(foreign) == before
    assert not (tmp_path / "nowhere").exists()
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize("name", ["out", "out.zip"])
def test_a_bundle_leaves_what_came_into_its_place_while_it_was_built(
    tmp_path, mnist, monkeypatch, name
):
    out = tmp_path / name
    come = out.write_bytes if out.suffix else lambda _content: fill(out)
    monkeypatch.setattr(bundle, "_do", lambda command: come(b"mine"))
    given = ["--mnist", str(mnist), "--no-dependencies", "--out", str(out)]
    assert exit_code(lambda: bundle.main(given)) == 1
    if out.suffix:
        assert out.read_bytes() == b"mine"
    else:
        assert content(out) == content(fill(tmp_path / "same"))


MEASURES = {
    "mnist_gpu.bench.__main__": "bench",
    "mnist_gpu.bench.hooks": "hooks",
    "mnist_gpu.bench.scale": "modelled",
    "mnist_gpu.parity.__main__": "parity",
}
BROKEN = {
    "empty": lambda path, name: path.touch(),
    "without markers": lambda path, name: path.write_text("mine\n"),
    "no end": lambda path, name: path.write_text(f"<!-- {name}:begin -->\nmine\n"),
    "twice": lambda path, name: path.write_text(f"<!-- {name}:begin --><!-- {name}:end -->" * 2),
    "backwards": lambda path, name: path.write_text(f"<!-- {name}:end --><!-- {name}:begin -->"),
    "another's": lambda path, name: path.write_text("<!-- toc:begin -->\n<!-- toc:end -->\n"),
    "no text": lambda path, name: path.write_bytes(b"\xff<!-- x -->\r\n\0"),
    "a folder": lambda path, name: path.mkdir(),
    "missing": lambda path, name: None,
}


@pytest.mark.parametrize("way", BROKEN)
@pytest.mark.parametrize("module", MEASURES)
def test_a_document_that_has_no_place_for_a_table_is_left_and_nothing_is_measured_for_it(
    tmp_path, monkeypatch, capsys, module, way
):
    def measured(*_arguments) -> None:
        pytest.fail("this took minutes")

    monkeypatch.setattr(tables, "speed", measured)
    monkeypatch.setattr(pairs, "honest", measured)
    measure = import_module(module)
    monkeypatch.setattr(measure, "traps", measured, raising=False)
    path = tmp_path / "mine.md"
    BROKEN[way](path, MEASURES[module])
    before = content(tmp_path)
    monkeypatch.setattr(sys, "argv", [module, "--doc", str(path)])
    with pytest.raises(SystemExit) as ended:
        sys.exit(measure.main())
    assert content(tmp_path) == before
    said = f"{ended.value.code}{capsys.readouterr().err}"
    assert ended.value.code not in (0, None)
    assert "mine.md: " in said


@pytest.mark.parametrize("way", BROKEN)
def test_a_report_changes_no_document_when_one_of_them_has_no_place(tmp_path, way):
    records, readme = write(tmp_path / "records"), tmp_path / "README.md"
    BROKEN[way](readme, "results")
    before = content(tmp_path)
    given = [records, "--out", str(tmp_path / "out"), "--readme", str(readme)]
    assert report(given) == 1
    assert content(tmp_path) == before


def test_a_report_leaves_a_document_beside_the_readme_that_is_not_the_projects(tmp_path):
    records, readme = write(tmp_path / "records"), tmp_path / "README.md"
    beside = tmp_path / "docs" / "reliability.md"
    beside.parent.mkdir()
    markers = "<!-- results:begin -->\n<!-- results:end -->\n"
    given = [records, "--out", str(tmp_path / "out"), "--readme", str(readme)]
    for text, code in (("mine\n", 0), ("<!-- checkpoints:begin -->\nmine\n", 1)):
        readme.write_text(markers)
        beside.write_text(text)
        assert report(given) == code
        assert beside.read_text() == text
        assert (readme.read_text() == markers) == (code == 1)
