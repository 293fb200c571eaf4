"""The scripts on a machine with only Python, in folders of awkward names."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.platforms.conftest import CHECKOUT

SOURCE = ("--source", "https://example.org/a.zip?private_token=s3cret-t0ken")
DRY_RUNS = {
    "kaggle/launch.py": (("--user", "ada", *SOURCE), "platform=kaggle devices=1"),
    "colab/launch.py": (SOURCE, "platform=colab"),
    "jetstream/launch.py": (SOURCE, "cost ceiling"),
    "jupyterhub/launch.py": (("--hub", "https://hub.invalid", *SOURCE), "platform=jupyterhub"),
}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project that nothing was installed in."""
    path = tmp_path_factory.mktemp("doors") / "it's a=b, ü%20" / "mnist gpu"
    for name in ("scripts", "locks", "mnist_gpu", "conf"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(CHECKOUT / name, path / name, ignore=ignored)
    return path


def bare() -> dict[str, str]:
    """An environment in which no package is in reach but those of `python3` itself."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MNIST_GPU")}
    kept.pop("PYTHONPATH", None)
    return {**kept, "PYTHON": sys.executable, "MNIST_GPU_EXTRAS": "keras"}


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize("script", DRY_RUNS)
def test_a_launcher_brings_what_it_needs_and_no_framework(
    checkout: Path, tmp_path: Path, script: str
) -> None:
    arguments, shown = DRY_RUNS[script]
    for given in (("--help",), (*arguments, "--dry-run")):
        done = subprocess.run(
            ["python3", "-S", checkout / "scripts" / script, *given],
            cwd=tmp_path,
            env=bare(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
    assert shown in done.stdout
    assert "s3cret" not in done.stdout + done.stderr
    home = checkout / ".venv-launch" / Path(script).parent
    assert not [*home.glob("lib/python*/site-packages/torch")]
    assert not (checkout / ".venv").exists()


def door(checkout: Path, folder: Path, call: str, **programs: str) -> subprocess.CompletedProcess:
    """A call of environment.sh's functions, with stand-ins for programs in front of PATH."""
    folder.mkdir(exist_ok=True)
    # takes the place of uv and of the environment that it makes
    uv = f"""case "$1" in
venv) mkdir -p "$6/bin"; ln -sf {shlex.quote(sys.executable)} "$6/bin/python" ;;
*) while [ $# -gt 0 ]; do [ "$1" = -r ] && cat "$2" >>"{folder}/installed"; shift; done ;;
esac"""
    for name, text in {"uv": uv, **programs}.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}\n")
        (folder / name).chmod(0o755)
    script = f'set -euo pipefail; source "$0"; link_checkout() {{ :; }}; {call}'
    return subprocess.run(
        ["bash", "-c", script, checkout / "scripts" / "environment.sh"],
        env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "PYTHON": sys.executable,
             "MNIST_GPU_EXTRAS": ""},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip


OLD_GLIBC = {"getconf": "echo glibc 2.31"}


@pytest.fixture
def own(checkout: Path):
    """The same copy without any environment."""
    yield checkout
    shutil.rmtree(checkout / ".venv", ignore_errors=True)


def test_where_glibc_is_old_the_tests_are_installed_without_mlx(own: Path, tmp_path: Path) -> None:
    done = door(own, tmp_path / "bin", "prepare dev", **OLD_GLIBC)
    assert done.returncode == 0, done.stderr
    assert "the tests of engine=mlx are left out" in done.stderr
    installed = (tmp_path / "bin" / "installed").read_text()
    assert "\npytest==" in installed
    assert "\nmlx" not in installed


def test_where_glibc_is_old_mlx_itself_is_refused_in_one_line(own: Path, tmp_path: Path) -> None:
    done = door(own, tmp_path / "bin", "prepare mlx", **OLD_GLIBC)
    assert done.returncode == 1
    assert "MLX needs glibc 2.35" in done.stderr.splitlines()[-1]


def test_where_glibc_is_new_enough_nothing_is_left_out(own: Path, tmp_path: Path) -> None:
    done = door(own, tmp_path / "bin", "prepare dev", getconf="echo glibc 2.35")
    assert done.returncode == 0, done.stderr
    assert "\nmlx==" in (tmp_path / "bin" / "installed").read_text()


def test_an_older_nvidia_driver_gets_the_torch_that_it_can_run(own: Path, tmp_path: Path) -> None:
    smi = "echo '535.183.01, 8.0'"
    done = door(own, tmp_path / "bin", "prepare base", **{"nvidia-smi": smi})
    assert done.returncode == 0, done.stderr
    installed = (tmp_path / "bin" / "installed").read_text()
    assert "\ntorch==2.10." in installed
    assert (own / ".venv" / ".installed-cuda12").exists()
