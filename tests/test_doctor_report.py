"""What the doctor prints, and its command: lines that fit, overrides, exit codes."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mnist_gpu import doctor
from mnist_gpu.checks import examine
from mnist_gpu.checks.finding import COLOURS, found, show
from mnist_gpu.checks.machine import answers
from mnist_gpu.system import output_of
from tests.doctor_machines import mac
from tests.machines import patient


@pytest.mark.parametrize("columns", [80, 40])
def test_the_report_fits_a_terminal_and_ends_with_the_worst(tmp_path, monkeypatch, capsys, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    machine = patient(tmp_path, environ={"OMP_NUM_THREADS": "1"}, platform_name="cuda")
    show(examine(machine))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    starts = [line[:4].strip() for line in lines if line[:4].strip() in COLOURS]
    assert starts == sorted(starts, key=list(COLOURS).index)
    assert starts[-2:] == ["warn", "fail"]
    assert "Mend what failed first" in " ".join(lines)


@pytest.mark.parametrize("columns", [20, 1, 0])
def test_a_terminal_of_hardly_any_columns_is_written_to_as_one_of_thirty(
    tmp_path, monkeypatch, capsys, columns
):
    monkeypatch.setenv("COLUMNS", str(columns))
    show([found("rosetta"), found("metal")])
    lines = capsys.readouterr().out.splitlines()
    assert 20 < max(map(len, lines)) <= (30 if columns else 80)
    assert lines[0].startswith("ok    GPU through Metal")
    assert "1 ok, 0 warn, 1 fail." in " ".join(lines)


def test_the_command_looks_at_this_machine_without_a_framework():
    code = (
        "import sys; from mnist_gpu.doctor import main; status = main(['--json']);"
        "loaded = {'torch', 'lightning', 'tensorflow', 'keras', 'pandas'} & set(sys.modules);"
        "sys.exit(f'imported {loaded}' if loaded else status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    assert (report["engine"], report["platform"], done.stderr) == ("lightning", "auto", "")
    failed = any(one["status"] == "fail" for one in report["findings"])
    assert done.returncode == int(failed)
    assert {"cpus", "clock"} & {one["check"] for one in report["findings"]}


@pytest.mark.parametrize(
    ("argument", "code", "line"),
    [
        ("engine=teapot", 1, "engine=teapot: choose from"),
        ("platform=mars", 1, "platform=mars: choose from"),
        ("engine", 2, "write overrides as engine=NAME"),
    ],
)
def test_an_override_that_cannot_be_meant_is_refused_in_one_line(capsys, argument, code, line):
    assert doctor.main([argument]) == code
    assert capsys.readouterr().err.startswith(f"mnist-gpu: {argument.partition(':')[0]}")
    assert doctor.main([argument]) == code
    assert line in capsys.readouterr().err


def test_other_overrides_are_said_not_to_be_looked_at(capsys, monkeypatch):
    monkeypatch.setattr("mnist_gpu.checks.examine", lambda machine, deep: [])
    assert doctor.main(["seed=3", "engine=torch"]) == 0
    assert "seed=3: not looked at" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ([], ("lightning", "auto")),
        (["platform=jupyterhub"], ("keras", "jupyterhub")),
        (["engine=torch", "platform=colab_t4"], ("torch", "colab_t4")),
    ],
)
def test_the_engine_is_the_one_that_a_run_on_the_platform_would_have(
    given, asked, capsys, monkeypatch
):
    seen = []
    monkeypatch.setattr(
        "mnist_gpu.checks.examine", lambda machine, deep: seen.append(machine) or []
    )
    assert doctor.main([*given, "--json"]) == 0
    assert (seen[0].engine, seen[0].platform_name) == asked
    report = json.loads(capsys.readouterr().out)
    assert (report["engine"], report["platform"]) == asked


@pytest.mark.parametrize("given", ["", "--json"])
def test_who_reads_no_further_changes_no_exit_code(tmp_path, given):
    command = f"{shlex.quote(sys.executable)} -m mnist_gpu.doctor {given}"
    root = str(Path(__file__).parents[1])

    def code(line: str) -> int:
        whole = f"cd {shlex.quote(str(tmp_path))}; {line}; exit ${{PIPESTATUS[0]}}"
        environ = {**os.environ, "PYTHONPATH": root}
        return subprocess.run(
            ["bash", "-c", whole], env=environ, capture_output=True, check=False
        ).returncode

    read = code(command)
    assert [code(f"{command} {reader}") for reader in ("| head -1", ">/dev/full", ">&-")] == [
        read
    ] * 3


def test_a_check_that_fails_itself_says_which_question_stays_open(tmp_path):
    def explode(*words):
        raise OSError("no pipes left")

    seen = examine(patient(tmp_path, **{**mac(), "run": explode}))
    asked = [one.says for one in seen if one.check == "unknown"]
    assert "Is a laptop plugged in? No answer: OSError: no pipes left." in asked


def test_the_exit_code_tells_a_fail_from_a_warning(monkeypatch, capsys):
    for check, code in (("gpu_hidden", 0), ("rosetta", 1)):
        monkeypatch.setattr(
            "mnist_gpu.checks.examine", lambda machine, deep, check=check: [found(check)]
        )
        assert doctor.main([]) == code
    assert "Rosetta" in capsys.readouterr().out


def test_a_program_or_a_server_that_is_not_there_is_no_error():
    assert output_of("no-such-program-anywhere") is None
    assert output_of(sys.executable, "-c", "print(5)") == "5"
    assert output_of(sys.executable, "-c", "raise SystemExit(3)") is None
    assert not answers("http://127.0.0.1:9/none", 0.5)
    assert not answers("no address")
