"""The launcher against a real JupyterHub on this machine, and against hubs that fail."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests

from mnist_gpu.errors import UserError
from mnist_gpu.launch import hub_api
from mnist_gpu.launch.entry import Deadline
from mnist_gpu.launch.hub_api import Hub, RefusedError
from mnist_gpu.records.store import read_record
from tests.platforms.hub import RunningHub

LAUNCH = "jupyterhub"
KERAS = ("engine=keras", "model=mlp", "epochs=1", "logger=none", "platform.rehearsal=true")
pytestmark = pytest.mark.network


def test_keras_trains_on_a_real_hub_and_its_record_comes_home(
    launch: Callable, hub: RunningHub, bundle: Path, tmp_path: Path
) -> None:
    pytest.importorskip("keras")
    token = hub.token_of("ada")
    arguments = ["--hub", hub.url, "--kernel", "bench", "--bundle", str(bundle), *KERAS]
    done = launch(LAUNCH, *arguments, JUPYTERHUB_API_TOKEN=token)
    assert done.returncode == 0, done.stdout + done.stderr
    [path] = (tmp_path / "outputs" / "jupyterhub").glob("*/record.json")
    record = read_record(path)
    assert record.status == "completed"
    assert record.engine.framework.lower() == "keras"
    assert record.workload.dataset == "mnist"
    assert record.platform.claimed == "jupyterhub"
    assert record.platform.verified
    assert record.platform.rehearsal
    if hub.quota:
        assert record.hardware.cpu_quota == hub.quota
    assert token not in done.stdout + done.stderr + path.read_text()
    assert hub.servers_of("ada") == {}


def test_a_server_that_ran_before_is_used_and_left_running(
    launch: Callable, hub: RunningHub, bundle: Path
) -> None:
    token = hub.token_of("grace")
    arguments = ["--hub", hub.url, "--kernel", "bench", "--bundle", str(bundle), "platform=nowhere"]
    launch(LAUNCH, *arguments, "--keep-server", JUPYTERHUB_API_TOKEN=token)
    assert list(hub.servers_of("grace")) == [""]
    done = launch(LAUNCH, *arguments, JUPYTERHUB_API_TOKEN=token)
    assert "server was running" in done.stdout
    assert done.returncode == 1
    assert "platform=nowhere" in done.stderr
    assert list(hub.servers_of("grace")) == [""]


def test_a_run_that_is_too_late_is_stopped_and_so_is_the_server(
    launch: Callable, hub: RunningHub, bundle: Path
) -> None:
    token = hub.token_of("tony")
    arguments = ["--hub", hub.url, "--kernel", "bench", "--bundle", str(bundle), "--timeout", "12"]
    done = launch(LAUNCH, *arguments, "platform=cpu", JUPYTERHUB_API_TOKEN=token)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert hub.servers_of("tony") == {}


def test_a_wrong_token_is_refused_without_showing_it(launch: Callable, hub: RunningHub) -> None:
    arguments = ["--hub", hub.url, "--source", "installed"]
    done = launch(LAUNCH, *arguments, JUPYTERHUB_API_TOKEN="wrong-token-123")
    assert done.returncode == 1
    assert "refused (403)" in done.stderr
    assert "/hub/token" in done.stderr
    assert "wrong-token-123" not in done.stdout + done.stderr


def test_an_unknown_kernel_is_refused_by_name(launch: Callable, hub: RunningHub) -> None:
    token = hub.token_of("ken")
    arguments = ["--hub", hub.url, "--kernel", "julia", "--source", "installed"]
    done = launch(LAUNCH, *arguments, JUPYTERHUB_API_TOKEN=token)
    assert done.returncode == 1
    assert "/api/kernels" in done.stderr
    assert hub.servers_of("ken") == {}


def test_without_a_token_the_launcher_says_where_to_make_one(launch: Callable) -> None:
    done = launch(LAUNCH, "--hub", "https://hub.example.org", "--source", "installed")
    assert done.returncode == 1
    assert "https://hub.example.org/hub/token" in done.stderr


def test_a_token_is_not_sent_unencrypted_over_a_network(launch: Callable) -> None:
    arguments = ["--hub", "http://hub.example.org", "--source", "installed"]
    done = launch(LAUNCH, *arguments, JUPYTERHUB_API_TOKEN="secret-token")
    assert done.returncode == 1
    assert "use https" in done.stderr


def test_a_hub_that_is_not_there_is_one_line(launch: Callable) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        arguments = ["--hub", url, "--source", "installed"]
        done = launch(LAUNCH, *arguments, JUPYTERHUB_API_TOKEN="secret-token")
    assert done.returncode == 1
    assert done.stderr == f"error: cannot reach {url}/hub/api: wrong URL, or no network?\n"


@pytest.fixture
def failing_hub() -> Iterator[str]:
    """A stand-in for a hub whose spawner cannot start a server."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.endswith("/progress"):
                event = {"failed": True, "message": "Spawn failed: quota of 2 CPUs is used up"}
                return self._send(200, f"data: {json.dumps(event)}\n\n".encode())
            return self._send(200, json.dumps({"name": "ada", "servers": {}}).encode())

        def do_POST(self) -> None:
            self._send(202, b"")

        def _send(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


class SlowHub:
    """A hub whose server is still starting when nobody waits any more; its stream falls silent."""

    def __init__(self) -> None:
        self.servers: dict = {}
        self.refusals = 2

    def call(self, method: str, path: str, *_: object) -> dict:
        return {"servers": dict(self.servers)}

    def raw(self, method: str, path: str, *_: object, **__: object) -> SimpleNamespace:
        if method == "POST":
            self.servers = {"": {"ready": False, "url": "/user/ada/"}}
        if method == "DELETE":
            self.refusals -= 1
            if self.refusals >= 0:
                raise RefusedError(400, path, "ada is pending spawn, please wait")
            self.servers = {}
        return SimpleNamespace(status_code=202, iter_lines=self.lines)

    def lines(self) -> Iterator[bytes]:
        yield b'data: {"message": "Spawning"}'
        raise requests.exceptions.ConnectionError("Read timed out.")


def test_a_server_that_is_not_up_in_time_is_not_left_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub, slow = Hub("https://hub.example.org", "token"), SlowHub()
    monkeypatch.setattr(hub, "_api", slow)
    monkeypatch.setattr(hub_api, "Deadline", lambda s: Deadline(s, lambda: 0.0, lambda _: None))
    clock = iter([0.0, *range(100)])
    with pytest.raises(UserError, match="timeout: starting the server"):
        hub.start("ada", "", {}, Deadline(3, lambda: next(clock), lambda _: None))
    assert slow.servers == {}


def test_a_failed_spawn_gives_the_hubs_own_reason(launch: Callable, failing_hub: str) -> None:
    arguments = ["--hub", failing_hub, "--source", "installed"]
    done = launch(LAUNCH, *arguments, JUPYTERHUB_API_TOKEN="secret-token")
    assert done.returncode == 1
    assert "quota of 2 CPUs is used up" in done.stderr


@pytest.mark.parametrize(
    ("stated", "address"),
    [
        ({"url": "/user/ada/"}, "https://hub.example.org/user/ada"),
        ({"url": "https://ada.hub.example.org/user/ada/"}, "https://ada.hub.example.org/user/ada"),
        (
            {"url": "/user/ada/", "full_url": "https://ada.hub.example.org/user/ada/"},
            "https://ada.hub.example.org/user/ada",
        ),
        ({"url": "/user/ada/", "full_url": None}, "https://hub.example.org/user/ada"),
    ],
)
def test_a_server_is_found_where_the_hub_says_it_is(stated: dict, address: str) -> None:
    hub = Hub("https://hub.example.org/hub", "token")
    answer = {"servers": {"": {"ready": True, **stated}}}
    hub._api.call = lambda *_, **__: answer
    assert hub.start("ada", "", {}, Deadline(1)) == (address, False)


def test_a_token_is_not_sent_unencrypted_to_an_address_that_the_hub_names() -> None:
    hub = Hub("https://hub.example.org/hub", "token")
    answer = {"servers": {"": {"ready": True, "url": "http://ada.hub.example.org/user/ada/"}}}
    hub._api.call = lambda *_, **__: answer
    with pytest.raises(UserError, match="use https"):
        hub.start("ada", "", {}, Deadline(1))


def test_a_dry_run_needs_no_token_and_contacts_nobody(launch: Callable) -> None:
    arguments = ["--hub", "https://hub.invalid", "--source", "installed", "--dry-run", "seed=1"]
    done = launch(LAUNCH, *arguments)
    assert done.returncode == 0
    assert "platform=jupyterhub seed=1" in done.stdout
