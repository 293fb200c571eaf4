"""The one file that is sent: what it installs, from where, and what it refuses."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from mnist_gpu.launch import payload
from tests.platforms.conftest import CHECKOUT

SCRIPT = CHECKOUT / "scripts" / "bootstrap.py"
# as it is sent: one text
bootstrap = ModuleType("bootstrap")
exec(payload.bootstrap(), vars(bootstrap))


@pytest.fixture
def rebuilt(bundle: Path, tmp_path: Path):
    """The bundle with one of its files changed by a function from bytes to bytes."""

    def change(ending: str, by) -> Path:
        path = tmp_path / "changed.zip"
        with zipfile.ZipFile(bundle) as old, zipfile.ZipFile(path, "w") as new:
            for name in old.namelist():
                content = old.read(name)
                new.writestr(name, by(content) if name.endswith(ending) else content)
        return path

    return change


def said(capsys: pytest.CaptureFixture, *arguments: str) -> str:
    assert bootstrap.main([*arguments]) == 1
    captured = capsys.readouterr()
    assert "MNIST_GPU_RESULT" in captured.out
    assert "running:" not in captured.out
    return captured.err


def test_a_wheel_that_was_changed_is_refused_before_anything_is_installed(
    rebuilt, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = rebuilt(".whl", lambda content: content + b"!")
    error = said(capsys, "--bundle", str(path), "--into", str(tmp_path / "into"))
    assert "not what the bundle's manifest.json names" in error


def test_a_manifest_that_was_changed_with_its_wheel_is_refused(
    rebuilt, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = rebuilt("manifest.json", lambda content: content.replace(b"\n", b"\n "))
    sent = ["--manifest", payload.manifest_digest(bundle)]
    error = said(capsys, "--bundle", str(path), *sent, "--into", str(tmp_path / "into"))
    assert "not the one that was sent" in error


def test_a_wheel_that_the_manifest_does_not_name_is_never_seen(
    bundle: Path, tmp_path: Path
) -> None:
    shutil.unpack_archive(bundle, tmp_path / "folder", "zip")
    (tmp_path / "folder" / "hydra_core-99-py3-none-any.whl").write_bytes(b"stranger")
    wheels, data = bootstrap.unpack(str(tmp_path / "folder"), tmp_path / "work", None)
    assert [path.name for path in wheels.glob("*.whl")] == ["mnist_gpu-0.1.0-py3-none-any.whl"]
    assert data == tmp_path / "folder"


def test_a_bundle_named_from_here_is_found_from_the_folder_in_which_the_run_starts(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.unpack_archive(bundle, tmp_path / "folder", "zip")
    monkeypatch.chdir(tmp_path)
    _, data = bootstrap.unpack("folder", tmp_path / "work", None)
    assert data == tmp_path / "folder"


def test_mnist_is_found_in_folders_of_its_files_names(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "input" / "set"
    shutil.unpack_archive(bundle, folder, "zip")
    for path in folder.glob("*-ubyte.gz"):
        path.unlink()
        (folder / path.stem).mkdir()
        (folder / path.stem / path.stem).write_bytes(b"")
    _, data = bootstrap.unpack(str(tmp_path / "input"), tmp_path / "work", None)
    assert data == folder


STOCK = ["engine=lightning"]


@pytest.mark.parametrize(
    ("arguments", "runs"),
    [
        (["platform=colab"], {"own": ["platform=colab"], "lightning": ["platform=colab", *STOCK]}),
        # the platform's own engine is the common one: one run is both
        (["platform=kaggle"], {"own": ["platform=kaggle"]}),
        (
            ["platform=cpu", "division=open", "engine.switches.compile=true"],
            {
                "own": ["platform=cpu", "division=open", "engine.switches.compile=true"],
                "lightning": ["platform=cpu", *STOCK],
            },
        ),
        (["platform=colab", "engine=torch"], {"own": ["platform=colab", "engine=torch"]}),
        (
            ["--engines", "own,lightning", "engine=torch"],
            {"own": ["engine=torch"], "lightning": STOCK},
        ),
        (["--engines", "lightning", "platform=colab"], {"lightning": ["platform=colab", *STOCK]}),
    ],
)
def test_the_common_engine_runs_stock_beside_the_platforms_own(
    arguments: list[str], runs: dict[str, list[str]]
) -> None:
    chosen = bootstrap.parser().parse_args(["--source", "installed", *arguments])
    bootstrap._check(chosen)
    assert bootstrap.plan(chosen, CHECKOUT) == runs


def test_where_time_is_short_the_common_engine_goes_first() -> None:
    given = ["--source", "installed", "--timeout", "600", "platform=colab"]
    chosen = bootstrap.parser().parse_args(given)
    bootstrap._check(chosen)
    assert [*bootstrap.plan(chosen, CHECKOUT)] == ["lightning", "own"]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A stand-in for mnist_gpu.train, of which the body is given; what is announced."""

    def use(body: str, *arguments: str) -> list[dict]:
        package = tmp_path / "modules" / "mnist_gpu"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "train.py").write_text(f"import json, sys\n{body}\n")
        monkeypatch.setenv("PYTHONPATH", str(package.parent))
        monkeypatch.setenv("MNIST_GPU_DATA", str(tmp_path))
        monkeypatch.setattr(bootstrap, "fetch", lambda *_: CHECKOUT)
        said: list[dict] = []
        monkeypatch.setattr(bootstrap, "announce", lambda result, also: said.append(result))
        into = ["--source", "installed", "--into", str(tmp_path / "into")]
        said.append({"code": bootstrap.main([*into, *arguments, "platform=colab"])})
        return said

    return use


LEAVES = """
folder = sys.argv[-1].partition("=")[2]
json.dump({"status": "completed", "arguments": sys.argv[1:-1]}, open(folder + "/record.json", "w"))
"""


def test_each_run_leaves_a_file_and_the_last_is_said_to_be_it(program, tmp_path: Path) -> None:
    own, common, end = program(LEAVES)
    assert end == {"code": 0}
    assert (own["engine"], own["last"]) == ("own", False)
    assert (common["engine"], common["last"]) == ("lightning", True)
    into = tmp_path / "into"
    arguments = [json.loads((into / name).read_text())["arguments"]
                 for name in ("record.json", "record-lightning.json")]  # fmt: skip
    assert arguments == [["platform=colab"], ["platform=colab", "engine=lightning"]]


def test_a_run_that_fails_does_not_take_the_others_turn(program) -> None:
    body = "if 'engine=lightning' not in sys.argv: sys.exit('no such thing')" + LEAVES
    own, common, end = program(body)
    assert own["status"] == "failed"
    assert "no such thing" in own["reason"]
    assert common["status"] == "completed"
    assert end == {"code": 1}


def test_after_ctrl_c_no_other_run_begins(program) -> None:
    [only, end] = program("import os, signal; sys.exit(130)")
    assert only["last"]
    assert end == {"code": 130}


def test_a_run_for_which_no_time_is_left_is_named(program, monkeypatch) -> None:
    clock = iter([0.0, 1.0, 11.0])
    monkeypatch.setattr(bootstrap.time, "monotonic", lambda: next(clock))
    common, own, end = program(LEAVES, "--timeout", "10")
    assert common["status"] == "completed"
    assert own["reason"] == "no time is left of 10 s (--timeout)"
    assert own["last"]
    assert end == {"code": 1}


def test_a_record_that_lies_there_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "record.json").write_text("mine")
    error = said(capsys, "--source", "installed", "--into", str(tmp_path))
    assert "record.json is there already" in error
    assert (tmp_path / "record.json").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


@pytest.mark.parametrize(
    ("shown", "lock"),
    [
        ("580.82.07, 8.0", "base"),
        ("535.183.01, 8.0", "cuda12"),
        ("580.65.05, 9.0", "cuda12"),
        ("580.82.07, 7.0", "cuda12"),
        ("580.82.07, 8.0\n580.82.07, 7.0", "cuda12"),
        ("NVIDIA-SMI has failed", "base"),
    ],
)
def test_an_older_driver_or_gpu_gets_the_lock_with_cuda_12(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: str, lock: str
) -> None:
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\necho '{shown}'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert bootstrap.fitting_lock(CHECKOUT) == lock


def test_the_two_locks_hold_what_they_are_named_for() -> None:
    for name, cuda in (("base", "13"), ("cuda12", "12")):
        text = (CHECKOUT / "locks" / f"{name}.txt").read_text()
        assert f"\nnvidia-cudnn-cu{cuda}==" in text


def test_a_locked_package_has_its_hashes_and_every_version_of_it() -> None:
    locked = bootstrap.read_lock(CHECKOUT, "lightning")
    assert "--hash=sha256:" in locked["hydra-core"]
    assert locked["numpy"].count("numpy==") == 2  # one for each range of Pythons


@pytest.fixture
def platform(tmp_path: Path) -> Path:
    """The Python of a platform that has everything but hydra-core."""
    home = tmp_path / "platform"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    [packages] = home.glob("lib/python*/site-packages")
    for entry in {path for place in sys.path if place.endswith("site-packages")
                  for path in Path(place).iterdir()}:  # fmt: skip
        wanted = not entry.name.startswith(("hydra_core", "hydra-", "mnist_gpu", "_"))
        if wanted and entry.name != "hydra" and entry.suffix != ".pth":
            target = packages / entry.name
            target.exists() or target.symlink_to(entry)
    return home / "bin" / "python"


@pytest.mark.network
@pytest.mark.parametrize("name", ["a b", "it's", "a=b,c", "ü%20"])
def test_what_a_platform_lacks_comes_from_the_lock_and_the_rest_stays(
    platform: Path, tmp_path: Path, mnist_dir: Path, name: str
) -> None:
    (tmp_path / name).mkdir()
    quick = ["platform=cpu", "engine=torch", "model=mlp", "epochs=1", "logger=none"]
    if name != "a b":
        quick = ["platform=nowhere"]  # the installation is what is looked at
    done = subprocess.run(
        [platform, SCRIPT, "--source", CHECKOUT, "--work", "work", "--into", ".", *quick],
        cwd=tmp_path / name,
        env={**os.environ, "PYTHONPATH": "", "MNIST_GPU_DATA": str(mnist_dir)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "[bootstrap] adding hydra-core\n" in done.stdout, done.stdout + done.stderr
    assert f"torch=={importlib.metadata.version('torch')}" in done.stdout
    if name == "a b":
        assert done.returncode == 0, done.stdout + done.stderr
        record = json.loads((tmp_path / name / "record.json").read_text())
        assert record["status"] == "completed"
    else:
        assert "nowhere" in done.stdout
