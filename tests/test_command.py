"""The one installed command, as `pip install` leaves it, in a folder with nothing else."""

import os
import shlex
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from mnist_gpu.__main__ import COMMANDS, main
from mnist_gpu.faults import small
from mnist_gpu.records.store import read_record
from tests.wheels import build_wheel

# what an installer writes into bin/mnist-gpu
ENTRY = """
import sys
from importlib.metadata import entry_points
import mnist_gpu
assert "unpacked" in mnist_gpu.__file__, mnist_gpu.__file__
[entry] = {e.value: e for e in entry_points(group="console_scripts", name="mnist-gpu")}.values()
sys.exit(entry.load()())
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel's contents."""
    folder = tmp_path_factory.mktemp("wheel")
    with zipfile.ZipFile(build_wheel(folder)) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def call(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    (folder / "entry.py").write_text(ENTRY)
    return subprocess.run(
        [sys.executable, folder / "entry.py", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_a_wheel_trains_validates_and_reports_in_any_folder(
    installed: Path, tmp_path: Path
) -> None:
    (tmp_path / "digits").mkdir()
    digits = small.write(tmp_path / "digits", 640, 128)
    quick = ["platform=cpu", "engine=torch", "model=mlp", "epochs=1", "logger=none", *digits]
    trained = call(installed, tmp_path, "train", *quick)
    assert trained.returncode == 0, trained.stderr
    [path] = tmp_path.glob("outputs/cpu/*/record.json")
    assert read_record(path).status == "completed"
    checked = call(installed, tmp_path, "validate", "outputs")
    assert checked.returncode == 0, checked.stdout
    assert "1 accepted" in checked.stderr
    reported = call(installed, tmp_path, "report", "outputs")
    assert reported.returncode == 0, reported.stderr
    assert (tmp_path / "report" / "index.html").is_file()


@pytest.mark.slow
def test_each_command_ends_as_its_module_does(installed: Path, tmp_path: Path) -> None:
    for arguments, code in (
        (("train", "epochs=0"), 1),
        (("train", "no_such_key=1"), 1),
        (("validate",), 2),
        (("report", "nowhere"), 1),
        (("doctor", "engine=nowhere"), 1),
    ):
        module = f"mnist_gpu.{arguments[0]}"
        alone = subprocess.run(
            [sys.executable, "-m", module, *arguments[1:]],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(installed)},
            capture_output=True,
            text=True,
            check=False,
        )
        done = call(installed, tmp_path, *arguments)
        assert (done.returncode, done.stderr) == (alone.returncode, alone.stderr)
        assert done.returncode == code, done.stderr


def test_every_command_is_there_and_listed_in_a_line(capsys: pytest.CaptureFixture) -> None:
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in COMMANDS:
        assert len([line for line in lines if line.split()[:1] == [name]]) == 1
        assert find_spec(f"mnist_gpu.{name}")
    assert max(map(len, lines)) < 100


def test_the_list_is_printed_without_importing_any_of_them() -> None:
    script = (
        "import sys; from mnist_gpu.__main__ import main; main(['--help'])\n"
        "ours = {name for name in sys.modules if name.startswith('mnist_gpu.')}\n"
        "ours -= {'mnist_gpu.__main__'}\n"
        "print(sorted(ours), {'torch', 'hydra'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == (
        "['mnist_gpu.errors', 'mnist_gpu.output', 'mnist_gpu.version'] set()"
    )


@pytest.mark.parametrize("reader", [">&-", "| true", ">/dev/full"])
def test_a_list_that_nobody_reads_is_no_fault(reader: str) -> None:
    line = f"set -o pipefail; {shlex.quote(sys.executable)} -m mnist_gpu --help {reader}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ([], "which command? one of train"),
        (["trian"], "did you mean train?"),
        (["Doctor"], "did you mean doctor?"),
        (["paint"], "no command paint: one of train"),
        (["platform=cpu"], "did you mean mnist-gpu train platform=cpu ...?"),
    ],
)
def test_a_word_that_is_no_command_is_one_line_with_what_was_meant(
    given: list[str], meant: str, capsys: pytest.CaptureFixture
) -> None:
    assert main(given) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert meant in captured.err
