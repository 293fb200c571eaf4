"""What the platforms' tests share: a bundle, clients in environments of their own, a hub."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mnist_gpu.launch import bundle as bundles
from tests.platforms import hub as hubs
from tests.platforms.kaggle_api import Kaggle
from tests.platforms.openstack_api import OpenStack

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory, mnist_dir: Path) -> Path:
    """A bundle for a platform that has every dependency: the project's wheel and MNIST."""
    path = tmp_path_factory.mktemp("bundle") / "bundle.zip"
    bundles.make(path, sorted(mnist_dir.glob("*-ubyte*")), [])
    return path


@pytest.fixture
def launch(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess]:
    """Call a launcher, in this environment and without this machine's credentials."""

    def call(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("OS_", "KAGGLE_", "JUPYTERHUB_")) and name != "HOME"
        }
        return subprocess.run(
            [sys.executable, "-m", "mnist_gpu.launch", name, *arguments],
            cwd=tmp_path,
            env={**clean, "HOME": str(tmp_path), "PYTHONPATH": str(CHECKOUT), **environment},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )

    return call


def tool(name: str, *requirements: str, home: str = "") -> Path:
    """A command-line tool in an environment of its own, kept in the cache; else the test skips."""
    folder = hubs.CACHE / (home or name)
    if not (folder / "bin" / name).exists():
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(folder)],
            [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", *requirements],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"{name} cannot be had here: {done.stderr.strip()[-200:]}")
    return folder / "bin" / name


@pytest.fixture(scope="session")
def kaggle_client() -> Path:
    """Kaggle's own client, of the launcher's lock."""
    lock = CHECKOUT / "locks" / "kaggle.txt"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    return tool("kaggle", "--require-hashes", "-r", str(lock), home=f"kaggle-{digest}")


@pytest.fixture
def kaggle(tmp_path: Path) -> Iterator[Kaggle]:
    """A stand-in for Kaggle's API."""
    standin = Kaggle(tmp_path / "standin")
    (tmp_path / "standin" / "client").mkdir(parents=True)
    server = standin.start()
    yield standin
    if standin.thread:
        standin.thread.join()
    server.shutdown()
    server.server_close()


@pytest.fixture
def cloud() -> Iterator[OpenStack]:
    """A stand-in for OpenStack's APIs."""
    standin = OpenStack()
    server = standin.start()
    yield standin
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[hubs.RunningHub]:
    """A real JupyterHub whose users compute with this Python and may use two CPUs."""
    environment = {"OMP_NUM_THREADS": "2", "PIP_NO_INDEX": "1"}
    try:
        running = hubs.start(tmp_path_factory.mktemp("hub"), environment, sys.executable)
    except hubs.Unavailable as reason:
        pytest.skip(str(reason))
    yield running
    hubs.stop(running)


@pytest.fixture(scope="session")
def cloud_init_schema() -> Callable[[str], str]:
    """Debian's cloud-init, unpacked without installing it: user data -> complaints, or nothing."""
    home = hubs.CACHE / "cloud-init"
    python = tool("jsonschema", "jsonschema", "configobj", "jinja2", "jsonpatch", "oauthlib",
        "requests", "pyyaml", "pyserial").parent / "python"  # fmt: skip
    if not (home / "usr").exists():
        home.mkdir(parents=True, exist_ok=True)
        steps = "apt-get download cloud-init && dpkg-deb -x cloud-init_*.deb ."
        done = subprocess.run(["sh", "-c", steps], cwd=home, capture_output=True, check=False)
        if done.returncode:
            pytest.skip("cloud-init's schema cannot be had: this needs Debian's apt and dpkg")

    def complaints(user_data: str) -> str:
        path = home / "user-data.yaml"
        path.write_text(user_data)
        done = subprocess.run(
            [str(python), "-m", "cloudinit.cmd.main", "schema", "--config-file", str(path)],
            env={**os.environ, "PYTHONPATH": str(home / "usr/lib/python3/dist-packages")},
            capture_output=True,
            text=True,
            check=False,
        )
        return "" if done.returncode == 0 else done.stdout + done.stderr

    return complaints
