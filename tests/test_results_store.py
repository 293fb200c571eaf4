"""Records on disk: whole or not at all, found where they are, read with suspicion."""

import json
import os
from pathlib import Path

import pytest

from mnist_gpu.errors import UserError
from mnist_gpu.records.schema import schema_json
from mnist_gpu.records.store import MAX_BYTES, find_records, printable, read_record, write_record
from tests.records import make_document, make_record

REPOSITORY = Path(__file__).resolve().parents[1]


def test_a_record_comes_back_as_it_was_written(tmp_path):
    record = make_record(seed=3)
    write_record(record, tmp_path / "new" / "folder" / "record.json")
    assert read_record(tmp_path / "new" / "folder" / "record.json") == record


def test_a_failed_write_leaves_the_old_record_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "record.json"
    write_record(make_record(seed=1), path)

    def full_disk(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(UserError, match=r"record\.json: no space left"):
        write_record(make_record(seed=2), path)
    assert read_record(path) == make_record(seed=1)
    assert os.listdir(tmp_path) == ["record.json"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a whole JSON file"),
        (b'{"run_id": 1', "not a whole JSON file"),
        (b"[]", "no JSON object"),
        (b'{"a": 1, "a": 2}', "'a' appears twice"),
        (b'{"a": 1, "a" :2, "b\\":": 3}', "'a' appears twice"),
        (b'{"a": NaN}', "not a whole JSON file"),
        (b'{"a": "\xff"}', "not a whole JSON file|not UTF-8"),
        (b"[" * 100_000, "JSON|nested"),
        (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "JSON|nested"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not a whole JSON file|schema_version"),
        (b" " * (MAX_BYTES + 1), "larger than"),
    ],
)
def test_a_file_that_is_no_record_is_refused_with_its_name(tmp_path, content, reason):
    path = tmp_path / "odd.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"odd\.json: .*({reason})"):
        read_record(path)


def test_a_doubled_key_in_an_otherwise_good_record_is_refused(tmp_path):
    text = json.dumps(make_document())
    path = tmp_path / "record.json"
    path.write_text(text.replace('"standard": true', '"standard": false, "standard": true'))
    with pytest.raises(UserError, match="'standard' appears twice"):
        read_record(path)


def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "record.json")
    with pytest.raises(UserError, match="not a regular file"):
        read_record(tmp_path / "record.json")


def test_records_are_found_in_folders_whatever_they_are_called(tmp_path):
    write_record(make_record(), tmp_path / "a" / "b" / "record.json")
    write_record(make_record(), tmp_path / "m1-seed0.json")
    write_record(make_record(), tmp_path / ".hidden" / "record.json")
    (tmp_path / "other.json").write_text("{}")
    (tmp_path / "again").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "secret.json").symlink_to("/etc/passwd")
    found = find_records([tmp_path, tmp_path / "a"])
    assert [path.relative_to(tmp_path).as_posix() for path in found] == [
        "a/b/record.json",
        "m1-seed0.json",
    ]


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere: no such file"):
        find_records([tmp_path / "nowhere"])


def test_text_for_the_terminal_cannot_act_on_it():
    assert printable("a\x1b[31m\n\u202eb é") == r"a\x1b[31m\n\u202eb é"


def test_the_published_schema_is_current():
    kept = (REPOSITORY / "docs" / "record.schema.json").read_text(encoding="utf-8")
    assert kept == schema_json(), (
        "renew it: python -c 'from mnist_gpu.records.schema import schema_json;"
        ' print(schema_json(), end="")\' > docs/record.schema.json'
    )


def test_an_empty_path_is_not_taken_for_the_present_folder():
    with pytest.raises(UserError, match="a PATH is empty"):
        find_records([""])
