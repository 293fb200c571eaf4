"""A real JupyterHub on this machine, installed once into a cache folder."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(
    os.environ.get("MNIST_GPU_TEST_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mnist-gpu-tests"
)
PYTHON_PACKAGES = ["jupyterhub>=5,<7", "jupyterlab>=4", "jupyter-server>=2.14", "nbgitpuller>=1.2"]
PROXY = "configurable-http-proxy@5"
START_S = 120
QUOTA = 1.5

CONFIG = """
import json
given = json.loads({given!r})
c.JupyterHub.bind_url = given["url"]
c.JupyterHub.hub_port = given["hub_port"]
c.JupyterHub.db_url = "sqlite:///" + given["home"] + "/hub.sqlite"
c.JupyterHub.cookie_secret_file = given["home"] + "/cookie_secret"
c.ConfigurableHTTPProxy.command = [given["proxy"]]
c.ConfigurableHTTPProxy.api_url = given["proxy_api"]
c.ConfigurableHTTPProxy.pid_file = given["home"] + "/proxy.pid"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = given["home"] + "/users/{{username}}"
c.Spawner.cmd = [given["singleuser"]]
c.Spawner.args = ["--allow-root"]
c.Spawner.environment = given["environment"]
c.Spawner.cpu_limit = 2
c.Spawner.start_timeout = 120
c.Spawner.http_timeout = 120
c.JupyterHub.allow_named_servers = True
c.JupyterHub.services = [{{"name": "tests", "api_token": given["admin_token"]}}]
c.JupyterHub.load_roles = [{{"name": "tests", "services": ["tests"],
                            "scopes": ["admin:users", "tokens", "admin:servers"]}}]
"""


class Unavailable(Exception):
    """The hub cannot be had on this machine, and why."""


@dataclass
class RunningHub:
    """A hub that answers."""

    url: str
    admin_token: str
    process: subprocess.Popen
    log: Path
    users: Path
    quota: float | None

    def token_of(self, user: str) -> str:
        """Make `user` and mint a token, as the user would on the page /hub/token."""
        with contextlib.suppress(urllib.error.HTTPError):
            self.call("POST", f"/users/{user}")
        return self.call("POST", f"/users/{user}/tokens", {"note": "tests"})["token"]

    def servers_of(self, user: str) -> dict:
        return self.call("GET", f"/users/{user}").get("servers", {})

    def call(self, method: str, path: str, body: dict | None = None) -> dict:
        request = urllib.request.Request(
            f"{self.url}/hub/api{path}",
            method=method,
            data=json.dumps(body or {}).encode() if method == "POST" else None,
            headers={"Authorization": f"token {self.admin_token}"},
        )
        with urllib.request.urlopen(request, timeout=30) as reply:
            return json.loads(reply.read() or b"{}")


def install() -> tuple[Path, Path]:
    """The folders of the hub's Python and of its proxy; made on first use."""
    python_home, node_home = CACHE / "hub-python", CACHE / "hub-proxy"
    if not shutil.which("npm"):
        raise Unavailable("npm is missing: install Node.js to test against a real JupyterHub")
    if not (python_home / "bin" / "jupyterhub").exists():
        shutil.rmtree(python_home, ignore_errors=True)
        _do([sys.executable, "-m", "venv", str(python_home)])
        _do([str(python_home / "bin" / "pip"), "install", "-q", *PYTHON_PACKAGES])
    if not _proxy(node_home).exists():
        node_home.mkdir(parents=True, exist_ok=True)
        _do(["npm", "install", "--no-audit", "--no-fund", "--prefix", str(node_home), PROXY])
    return python_home, node_home


def _proxy(node_home: Path) -> Path:
    return node_home / "node_modules" / ".bin" / "configurable-http-proxy"


def _do(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise Unavailable(f"{command[0]}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")


def start(home: Path, environment: dict[str, str], kernel_python: str) -> RunningHub:
    """Start a hub whose users compute with `kernel_python`, and wait until it answers."""
    python_home, node_home = install()
    spec = home / "jupyter" / "kernels" / "bench" / "kernel.json"
    spec.parent.mkdir(parents=True)
    argv = [kernel_python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec.write_text(json.dumps({"argv": argv, "display_name": "bench", "language": "python"}))
    (home / "users").mkdir()
    hub_port, proxy_api, port = free_ports(3)
    given = {
        "url": f"http://127.0.0.1:{port}",
        "hub_port": hub_port,
        "proxy_api": f"http://127.0.0.1:{proxy_api}",
        "home": str(home),
        "proxy": str(_proxy(node_home)),
        "singleuser": str(python_home / "bin" / "jupyterhub-singleuser"),
        "environment": {"JUPYTER_PATH": str(home / "jupyter"), **environment},
        "admin_token": secrets.token_hex(16),
    }
    config = home / "jupyterhub_config.py"
    config.write_text(CONFIG.format(given=json.dumps(given)))
    log = home / "hub.log"
    path = f"{python_home / 'bin'}:{node_home / 'node_modules' / '.bin'}:{os.environ['PATH']}"
    with log.open("w") as stream:
        process = subprocess.Popen(
            [str(python_home / "bin" / "jupyterhub"), "-f", str(config)],
            cwd=home,
            env={**os.environ, "PATH": path},
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    quota = limit_cpus(process.pid)
    hub = RunningHub(given["url"], given["admin_token"], process, log, home / "users", quota)
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError):
            hub.call("GET", "/")
            return hub
        time.sleep(0.5)
    stop(hub)
    raise AssertionError("the hub did not start:\n" + log.read_text()[-3000:])


def stop(hub: RunningHub) -> None:
    """End the hub with everything it started."""
    hub.process.send_signal(signal.SIGTERM)
    try:
        hub.process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        os.killpg(hub.process.pid, signal.SIGKILL)


def limit_cpus(pid: int) -> float | None:
    """Put a process, and all it will start, under a CPU quota; None where that is not allowed."""
    period_us = 100_000
    for folder, file, text in (
        ("cpu", "cpu.cfs_quota_us", f"{int(QUOTA * period_us)}"),
        ("", "cpu.max", f"{int(QUOTA * period_us)} {period_us}"),
    ):
        group = Path("/sys/fs/cgroup") / folder / "mnist-gpu-test-hub"
        with contextlib.suppress(OSError):
            group.mkdir(exist_ok=True)
            (group / file).write_text(text)
            (group / "cgroup.procs").write_text(str(pid))
            return QUOTA
    return None


def free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    try:
        for entry in sockets:
            entry.bind(("127.0.0.1", 0))
        return [entry.getsockname()[1] for entry in sockets]
    finally:
        for entry in sockets:
            entry.close()
