"""The Colab launcher, on a stand-in for `colab run` that runs the script it is sent here."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mnist_gpu.records.store import read_record

LAUNCH = "colab"
QUICK = ("engine=torch", "model=mlp", "epochs=1", "logger=none")
SOURCE = ("--source", "installed")


def client(tmp_path: Path, body: str) -> list[str]:
    """A stand-in for Google's client: it cannot be reached from a test."""
    path = tmp_path / "client.py"
    path.write_text(f"import os, subprocess, sys\n{body}\n")
    return ["--client", f"{sys.executable} {path}"]


RUNS = """
print("[colab] new runtime", file=sys.stderr)
print("arguments:", *sys.argv[1:-1])
os.environ.update(COLAB_RELEASE_TAG="release-colab_20261001", COLAB_BACKEND_URL="http://colab")
sys.exit(subprocess.run([sys.executable, sys.argv[-1]]).returncode)
"""


def test_the_record_of_a_run_comes_home(launch: Callable, tmp_path: Path) -> None:
    done = launch(LAUNCH, *client(tmp_path, RUNS), *SOURCE, *QUICK, GOOGLE_API_KEY="s3cret-key")
    assert done.returncode == 0, done.stdout + done.stderr
    [path] = (tmp_path / "outputs" / "colab").glob("*/record.json")
    record = read_record(path)
    assert record.status == "completed"
    assert record.platform.claimed == "colab"
    assert record.workload.dataset == "mnist"
    # the client's own default is 30 seconds
    assert "arguments: run --timeout 14400" in done.stdout
    assert "MNIST_GPU_RESULT" not in done.stdout
    assert "s3cret-key" not in done.stdout + done.stderr + path.read_text()


def test_a_t4_is_asked_for_by_name(launch: Callable, tmp_path: Path) -> None:
    arguments = ["--accelerator", "t4", "--dry-run", *SOURCE]
    done = launch(LAUNCH, *client(tmp_path, "raise SystemExit('called')"), *arguments)
    assert done.returncode == 0, done.stderr
    assert "--gpu T4" in done.stdout
    assert "platform=colab_t4" in done.stdout
    assert "called" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("says", "message"),
    [
        ("google.auth: no credentials", "no valid credentials"),
        ("requests.ConnectionError: Max retries exceeded", "is there a network?"),
        ("T4 unavailable", "try later"),
        ("some other fault", "colab run: some other fault"),
    ],
)
def test_a_client_that_fails_is_one_line(
    launch: Callable, tmp_path: Path, says: str, message: str
) -> None:
    done = launch(LAUNCH, *client(tmp_path, f"sys.exit({says!r})"), *SOURCE)
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_run_without_a_result_is_not_taken_for_one(launch: Callable, tmp_path: Path) -> None:
    done = launch(LAUNCH, *client(tmp_path, "print('done')"), *SOURCE)
    assert done.returncode == 1
    assert "ended without a result line" in done.stderr


def test_a_missing_client_says_how_to_get_it(launch: Callable) -> None:
    done = launch(LAUNCH, "--client", "no-such-client", *SOURCE)
    assert done.returncode == 1
    assert "scripts/colab/launch.py brings it" in done.stderr


def test_a_bundle_is_refused_because_one_file_is_sent(launch: Callable, tmp_path: Path) -> None:
    (tmp_path / "bundle.zip").write_bytes(b"")
    done = launch(LAUNCH, "--bundle", "bundle.zip")
    assert done.returncode == 2
    assert "one file" in done.stderr
