"""The Colab launcher, on a stand-in for `colab run` that runs the script it is sent here."""

import os
import select
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mnist_gpu.errors import UserError
from mnist_gpu.launch import colab
from mnist_gpu.records.store import read_record
from tests.platforms.conftest import CHECKOUT

LAUNCH = "colab"
QUICK = ("engine=torch", "model=mlp", "epochs=1", "logger=none")
SOURCE = ("--source", "installed")


def client(tmp_path: Path, body: str) -> list[str]:
    """A stand-in for Google's client: it cannot be reached from a test."""
    path = tmp_path / "client.py"
    path.write_text(f"import os, subprocess, sys\n{body}\n")
    return ["--client", shlex.join([sys.executable, str(path)])]


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


@pytest.mark.slow
def test_the_common_engine_comes_home_beside_the_platforms_own(
    launch: Callable, tmp_path: Path, digits: list[str]
) -> None:
    pytest.importorskip("tensorflow")
    done = launch(LAUNCH, *client(tmp_path, RUNS), *SOURCE, *QUICK[1:], *digits)
    assert done.returncode == 0, done.stdout + done.stderr
    paths = (tmp_path / "outputs" / "colab").glob("*/record.json")
    records = sorted(map(read_record, paths), key=lambda record: record.created_at)
    assert [record.engine.name for record in records] == ["lightning", "tensorflow"]
    assert {record.engine.division for record in records} == {"stock"}
    assert done.stdout.count("record: ") == 2


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
        ("[colab] Allocation refused (precondition failed). This can mean too many", "try later"),
        ("You may not have quota or entitlement for this accelerator", "try later"),
        ("403 Forbidden", "`colab --help`"),
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


ASKS = """
print("Enter the authorization code: ", end="", file=sys.{stream}, flush=True)
sys.exit("thanks" if input() == "4/0Ab" else "the answer did not arrive")
"""


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_the_sign_in_is_seen_before_it_is_answered(tmp_path: Path, stream: str) -> None:
    process = started(tmp_path, ASKS.format(stream=stream))
    shown, prompt = getattr(process, stream), "Enter the authorization code: "
    # the client waits for an answer, so what comes now comes without a line's end
    ready, _, _ = select.select([shown], [], [], 30)
    assert ready
    assert os.read(shown.fileno(), 4096).decode() == prompt
    _, errors = process.communicate("4/0Ab\n", timeout=60)
    assert "thanks" in errors


# as Google's client: the runtime is given back in a `finally`, which only Ctrl-C reaches
HOLDS_A_RUNTIME = """
import time
print("Enter the authorization code: ", end="", flush=True)
print("[colab] Session READY", file=sys.stderr, flush=True)
try:
    time.sleep(600)
finally:
    time.sleep(0.5)
    open("given-back", "w").close()
"""


def started(tmp_path: Path, body: str, *arguments: str) -> subprocess.Popen:
    """The launcher with a client that holds a runtime."""
    return subprocess.Popen(
        [sys.executable, "-m", "mnist_gpu.launch", LAUNCH, *client(tmp_path, body), *SOURCE,
         *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_being_stopped_gives_the_runtime_back(tmp_path: Path, signum: int) -> None:
    process = started(tmp_path, HOLDS_A_RUNTIME)
    assert process.stdout is not None
    # a prompt has no line end, and is seen all the same
    prompt = "Enter the authorization code: "
    assert process.stdout.read(len(prompt)) == prompt
    process.send_signal(signum)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (tmp_path / "given-back").exists()
    assert "may still be going" not in errors


def test_a_client_that_does_not_end_is_ended_and_the_runtime_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(colab, "ENDING", tuple((number, 0.2) for number, _ in colab.ENDING))
    deaf = "import signal, sys, time\nfor n in (2, 15): signal.signal(n, signal.SIG_IGN)\n"
    with subprocess.Popen(
        [sys.executable, "-c", deaf + "print(flush=True); time.sleep(600)"], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        colab._end(process)
        assert process.wait(10) == -signal.SIGKILL
    assert "`colab sessions` lists it" in capfd.readouterr().err


def test_a_timeout_gives_the_runtime_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(colab, "CLOSING_S", 0)
    monkeypatch.chdir(tmp_path)
    [_, command] = client(tmp_path, HOLDS_A_RUNTIME)
    with pytest.raises(UserError, match="timeout"):
        colab._relay([*shlex.split(command), "run"], 2)
    assert (tmp_path / "given-back").exists()
