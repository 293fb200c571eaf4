"""The marked lines of a session's runs, each with its own fate."""

import json
from pathlib import Path

import pytest

from mnist_gpu.errors import UserError
from mnist_gpu.launch import marked
from mnist_gpu.records.store import read_record
from tests.records import make_document


def line(engine: str, last: bool, **changes: object) -> str:
    result = {"tag": "t", "engine": engine, "last": last, "status": "completed", **changes}
    if "reason" not in changes:
        record = make_document(run_id=32 * f"{len(engine)}")
        result |= {"record": record, "sha256": marked.digest(record)}
    return f"{marked.MARK} {json.dumps(result)}\n"


def test_every_run_of_a_session_is_found_and_kept(tmp_path: Path) -> None:
    log = line("lightning", False) + "noise\n" + line("own", True)
    results = marked.find_results(log, "t")
    assert marked.keep(results, "colab", tmp_path) == 0
    paths = sorted(tmp_path.glob("*/*/record.json"))
    assert len({read_record(path).run_id for path in paths}) == 2


def test_a_run_that_failed_does_not_lose_the_other(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    failed = line("lightning", False, status="failed", reason="no space")
    with pytest.raises(UserError, match="no space"):
        marked.keep(marked.find_results(failed + line("own", True), "t"), "colab", tmp_path)
    assert capsys.readouterr().out.startswith("record: ")


def test_a_session_that_ends_between_two_runs_says_so(tmp_path: Path) -> None:
    results = marked.find_results(line("lightning", False), "t")
    with pytest.raises(UserError, match="before every engine had its turn"):
        marked.keep(results, "kaggle", tmp_path)
    assert len([*tmp_path.glob("*/*/record.json")]) == 1


def test_lines_of_another_session_are_not_taken(tmp_path: Path) -> None:
    assert marked.find_results(line("own", True), "other") == {}
    with pytest.raises(UserError, match="without a result line"):
        marked.keep({}, "kaggle", tmp_path)
