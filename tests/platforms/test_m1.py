"""The commands for a Mac, on stand-ins for macOS' own programs: nothing here is a Mac."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

CHECKOUT = Path(__file__).resolve().parents[2]
A_GOOD_MAC = {
    "uname": 'case "$1" in -s) echo Darwin;; -m) echo arm64;; esac',
    "sysctl": 'case "$2" in sysctl.proc_translated) echo 0;; *) echo "Apple M1";; esac',
    "pmset": "echo \"Now drawing from 'AC Power'\"",
    "caffeinate": 'echo "ran: $* extras=$MNIST_GPU_EXTRAS"',
}


def on_a_mac(tmp_path: Path, *arguments: str, **programs: str) -> subprocess.CompletedProcess:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in {**A_GOOD_MAC, **programs}.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    environment = {key: value for key, value in os.environ.items() if key != "MNIST_GPU_EXTRAS"}
    return subprocess.run(
        [CHECKOUT / "scripts" / "m1" / "run", *arguments],
        env={**environment, "PATH": f"{folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_three_rows_are_made_and_the_mac_is_kept_awake(tmp_path: Path) -> None:
    done = on_a_mac(tmp_path, "seed=1")
    assert done.returncode == 0, done.stderr
    ran = [line for line in done.stdout.splitlines() if line.startswith("ran: ")]
    assert [line.split("scripts/train ")[1] for line in ran] == [
        "platform=m1 seed=1 extras=",
        "platform=cpu seed=1 extras=",
        "platform=m1 engine=mlx seed=1 extras=mlx",
    ]
    assert all(line.startswith("ran: -dimsu ") for line in ran)


@pytest.mark.parametrize(
    ("program", "text", "message"),
    [
        ("uname", "echo Linux", "this is Linux, not macOS"),
        ("uname", 'case "$1" in -s) echo Darwin;; -m) echo x86_64;; esac', "no Apple chip"),
        ("sysctl", 'case "$2" in sysctl.*) echo 1;; *) echo Apple M1;; esac', "under Rosetta"),
        ("sysctl", 'case "$2" in sysctl.*) echo 0;; *) echo Apple M1 Pro;; esac', "'Apple M1 Pro'"),
        ("pmset", "echo \"Now drawing from 'Battery Power'\"", "plug in the charger"),
        ("pmset", "echo \"'AC Power'\"; echo ' lowpowermode         1'", "low power mode"),
    ],
)
def test_what_would_spoil_the_time_is_one_line(
    tmp_path: Path, program: str, text: str, message: str
) -> None:
    done = on_a_mac(tmp_path, **{program: text})
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "ran: " not in done.stdout


def test_another_apple_chip_runs_as_the_platform_it_is(tmp_path: Path) -> None:
    text = 'case "$2" in sysctl.*) echo 0;; *) echo Apple M3;; esac'
    done = on_a_mac(tmp_path, "--any-chip", sysctl=text)
    assert done.returncode == 0, done.stderr
    assert "platform=m1" not in done.stdout
    assert "ran: " in done.stdout


def test_a_dry_run_shows_the_rows_and_runs_none(tmp_path: Path) -> None:
    done = on_a_mac(tmp_path, "--dry-run", uname="echo Linux")
    assert done.returncode == 0
    assert done.stdout.count("+ caffeinate -dimsu scripts/train") == 3
    assert "ran: " not in done.stdout


@pytest.mark.parametrize(
    ("engines", "rows"),
    [(["--engines", "own,lightning"], 2), (["--engines=mlx"], 1), (["--engines", "own,mlx"], 3)],
)
def test_the_rows_of_the_engines_asked_for_are_made(
    tmp_path: Path, engines: list[str], rows: int
) -> None:
    done = on_a_mac(tmp_path, *engines, "seed=1")
    assert done.returncode == 0, done.stderr
    ran = [line for line in done.stdout.splitlines() if line.startswith("ran: ")]
    assert len(ran) == rows
    assert sum("engine=mlx" in line for line in ran) == ("mlx" in engines[-1])


@pytest.mark.parametrize("engines", [["--engines"], ["--engines", "jax"]])
def test_an_engine_that_makes_no_row_is_refused(tmp_path: Path, engines: list[str]) -> None:
    done = on_a_mac(tmp_path, *engines)
    assert done.returncode == 2
    assert "own, lightning, mlx" in done.stderr
    assert "ran: " not in done.stdout


def test_an_unknown_option_is_refused(tmp_path: Path) -> None:
    assert on_a_mac(tmp_path, "--fast").returncode == 2


def test_a_hosted_mac_trains_every_engine_that_a_mac_can_have_as_users_do() -> None:
    text = (CHECKOUT / ".github" / "workflows" / "macos.yml").read_text()
    steps = [step.get("run", "") for step in yaml.safe_load(text)["jobs"]["engines"]["steps"]]
    runs = [line for step in steps for line in step.splitlines() if "mnist_gpu.train" in line]
    assert {re.search(r"engine=(\w+)", line)[1] for line in runs} == {
        *("lightning", "keras", "tensorflow", "mlx")
    }
    # the standard network, whose dropout is on, in the default division
    assert not any(word in line for line in runs for word in ("model=", "switches", "division="))
    assert any(".venv/bin/python -m mnist_gpu.validate macos" in step for step in steps)


@pytest.mark.parametrize("workflow", sorted((CHECKOUT / ".github" / "workflows").iterdir()))
def test_a_workflow_names_no_file_that_is_not_there(workflow: Path) -> None:
    named = re.findall(r"\b(?:tests|scripts|results)/[\w./-]*\w", workflow.read_text())
    assert [name for name in named if not (CHECKOUT / name).exists()] == []


def test_a_mac_gets_no_torch_whose_matrix_products_are_silently_wrong() -> None:
    lines = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["dependencies"]
    mac = [line for line in map(Requirement, lines) if line.name == "torch" and line.marker]
    (bound,) = [line for line in mac if line.marker.evaluate({"sys_platform": "darwin"})]
    # pytorch#193487: 2.7 to 2.13
    assert not any(bound.specifier.contains(f"2.{minor}.0") for minor in range(7, 14))
    assert bound.specifier.contains("2.14.0")
