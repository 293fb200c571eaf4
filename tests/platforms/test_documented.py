"""Every launcher's command in the documents, run as it stands there, as far as that is offline."""

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.documents import CHECKOUT, commands

SCRIPT = re.compile(r"scripts/(?:(\w+)/launch|make_(bundle))\.py")
DOCUMENTED = [command for command in commands() if SCRIPT.match(command)]


@pytest.fixture(params=["no remote", "GitHub"])
def origin(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """What stands in for the checkout's own .git folder, and the source that it makes."""
    remote = request.param == "GitHub"
    git = tmp_path / "clone"
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    commands = [
        ["init", "-q"],
        [*identity, "commit", "-q", "--allow-empty", "-m", "first"],
        ["remote", "add", "origin", "git@github.com:ada/mnist-gpu.git"],
    ]
    git.mkdir()
    for command in commands if remote else commands[:2]:
        subprocess.run(["git", "-C", str(git), *command], check=True, capture_output=True)
    return str(git / ".git"), "ada/mnist-gpu/archive/" if remote else "OWNER/mnist-gpu/archive/"


def test_the_documents_name_every_launcher() -> None:
    named = {SCRIPT.match(command)[0] for command in DOCUMENTED}
    have = {path.relative_to(CHECKOUT).as_posix() for path in CHECKOUT.glob("scripts/*/launch.py")}
    assert named == have | {"scripts/make_bundle.py"}


@pytest.mark.parametrize("command", DOCUMENTED)
def test_a_documented_command_shows_its_steps(
    launch: Callable, origin: tuple[str, str], tmp_path: Path, mnist_dir: Path, command: str
) -> None:
    script, *given = shlex.split(command)
    launcher = "".join(name or "" for name in SCRIPT.match(script).groups())
    if "--help" not in given:
        given.append("--dry-run")
    git, source = origin
    done = launch(launcher, *given, GIT_DIR=git, MNIST_GPU_DATA=str(mnist_dir))
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clone"]
    if launcher != "bundle" and "--help" not in given:
        assert source in done.stdout
        assert ("give --source URL" in done.stderr) == source.startswith("OWNER")


@pytest.mark.parametrize("launcher", ["colab", "jetstream", "jupyterhub", "kaggle"])
def test_without_a_remote_a_launch_that_is_meant_says_what_to_give(
    launch: Callable, tmp_path: Path, launcher: str
) -> None:
    done = launch(launcher, GIT_DIR=str(tmp_path / "none"), JUPYTERHUB_API_TOKEN="x")
    assert done.returncode == 1
    assert done.stderr.startswith("error: which version to run?")
    assert "--source URL" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("launcher", ["colab", "jetstream", "jupyterhub", "kaggle"])
def test_a_token_in_the_sources_address_is_never_shown(launch: Callable, launcher: str) -> None:
    source = "https://example.org/a.zip?private_token=s3cret-t0ken"
    done = launch(launcher, "--source", source, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "https://example.org/a.zip?private_token=***" in done.stdout
    assert "s3cret" not in done.stdout + done.stderr
