"""A record pasted into an issue gets its row, or a line for each fault, and stays data."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

from tests.records import make_document

CHECKOUT = Path(__file__).resolve().parents[1]
SCRIPT = CHECKOUT / "scripts" / "result_row.py"
FORM = CHECKOUT / ".github" / "ISSUE_TEMPLATE" / "result.yml"
WORKFLOW = CHECKOUT / ".github" / "workflows" / "result.yml"
spec = importlib.util.spec_from_file_location("result_row", SCRIPT)
assert spec is not None
result_row = importlib.util.module_from_spec(spec)
assert spec.loader is not None
spec.loader.exec_module(result_row)


def body(*records: object, line_end: str = "\n", around: str = "```json\n{}\n```") -> str:
    """As GitHub puts a filled form together."""
    texts = [x if isinstance(x, str) else json.dumps(x, indent=2) for x in records]
    text = (
        f"### The record\n\n{around.replace('{}', chr(10).join(texts))}\n\n"
        "### Anything one should know\n\nNothing {but} this\n"
    )
    return text.replace("\n", line_end)


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("around", ["```json\n{}\n```", "```json\n```json\n{}\n```\n```", "{}"])
def test_a_record_is_answered_with_its_row(tmp_path: Path, line_end: str, around: str) -> None:
    record = make_document(accuracy=0.9912)
    code, text = result_row.answer(body(record, line_end=line_end, around=around), tmp_path)
    assert code == 0, text
    [row] = [line for line in text.splitlines() if line.startswith("| cpu-lightning-")]
    assert "99.12 %" in row


def test_a_sweep_pasted_in_a_row_is_one_row(tmp_path: Path) -> None:
    records = [make_document(seed=seed, epoch_s=9.0 + seed / 100) for seed in range(3)]
    code, text = result_row.answer(body(*records), tmp_path)
    assert code == 0, text
    [row] = [line for line in text.splitlines() if line.startswith("| cpu-lightning-")]
    assert " | 3 | " in row


def test_every_fault_is_a_line_that_names_the_field(tmp_path: Path) -> None:
    lie = make_document(timing__total_s=1.0)
    code, text = result_row.answer(body(lie, {"run_id": 5}), tmp_path)
    assert code == 1
    assert re.search(r"^record 1: timing\S*: .* \[\w+\]$", text, re.M)
    assert re.search(r"^record 2: \S+: .* \[schema\]$", text, re.M)
    assert "| cpu" not in text


def test_an_answer_fits_into_a_comment_whatever_was_pasted(tmp_path: Path) -> None:
    code, text = result_row.answer(body(*[{"a" * 100: n} for n in range(400)]), tmp_path)
    assert code == 1
    assert len(text) < 65_536
    assert re.search(r"^\.\.\. and \d+ more$", text, re.M)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("_No response_", "There is no record in it"),
        ('{"run_id": "half of it', "the record: file: "),
        ("{" * 5000, "the record: file: "),
        ('{"a": NaN}', "the record: file: "),
    ],
)
def test_what_is_no_record_is_told_so(tmp_path: Path, text: str, said: str) -> None:
    code, answered = result_row.answer(body(text), tmp_path)
    assert code == 1
    assert said in answered


def test_an_issue_of_another_kind_has_no_record() -> None:
    assert result_row.pasted('It is slow.\n\n{"run_id": 1}\n') == []


def test_a_record_that_is_in_the_results_already_is_refused(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "record.json").write_text(json.dumps(make_document()))
    code, text = result_row.answer(body(make_document()), tmp_path)
    assert code == 1, text


def test_no_text_of_a_stranger_ends_the_block_or_calls_anybody(tmp_path: Path) -> None:
    record = make_document()
    record["@everybody```\n# Heading"] = 1
    code, text = result_row.answer(body(record), tmp_path)
    assert code == 1
    assert text.count("```") == 2
    assert not [line for line in text.splitlines() if line.startswith("#")]
    assert result_row._plain("by @ada in #1") == "by @\u200bada in #\u200b1"


def test_it_runs_from_a_variable_and_leaves_an_exit_code(tmp_path: Path) -> None:
    for pasted, code in ((make_document(), 0), ("`$(touch hacked)`; {", 1)):
        done = subprocess.run(
            [sys.executable, SCRIPT],
            cwd=tmp_path,
            env={**os.environ, "ISSUE_BODY": body(pasted)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert done.stderr == ""
        assert done.stdout
    assert not [*tmp_path.iterdir()]


def test_it_needs_no_more_than_the_workflow_installs() -> None:
    """The workflow's lock has no framework, and little else of what the project requires."""
    assert "locks/judge.txt" in WORKFLOW.read_text(encoding="utf-8")
    locked = (CHECKOUT / "locks" / "judge.txt").read_text(encoding="utf-8")
    has = set(re.findall(r"^([\w.-]+)==", locked, re.M))
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lacking = {re.split(r"[^\w.-]", line)[0] for line in project["dependencies"]} - has
    modules = {name for name, of in packages_distributions().items() if lacking & {*of}}
    assert {"torch", "hydra", "rich"} <= modules
    script = (
        "import runpy, sys\n"
        f"sys.modules.update(dict.fromkeys({modules!r}))\n"
        f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "ISSUE_BODY": body(make_document())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "| cpu-lightning-" in done.stdout


def test_the_form_the_script_and_the_workflow_mean_the_same_heading() -> None:
    form = yaml.safe_load(FORM.read_text(encoding="utf-8"))
    [field] = [entry for entry in form["body"] if entry.get("id") == "record"]
    assert f"### {field['attributes']['label']}" == result_row.HEADING
    assert f"'{result_row.HEADING}'" in WORKFLOW.read_text(encoding="utf-8")


def test_no_command_of_the_workflow_holds_anything_from_the_issue() -> None:
    workflow = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    [job] = workflow["jobs"].values()
    assert job["permissions"] == {"contents": "read", "issues": "write"}
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands
    assert not [command for command in commands if "${{" in command]
