"""What the tests of the ways to MNIST share: a machine without any, a mirror, and a cache."""

import http.server
import sys
import threading
import time

import pytest
import torchvision

from mnist_gpu import data
from mnist_gpu.data import mnist

MNIST_SHA256 = "b2d8f5bf39174ee5ffeefa97e42d673c35432b411bb5d1f74fbbeddae7f1690a"
*_, TEST_LABELS = mnist.PUBLISHED_SHA256


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """A machine without named data, mirrors and npm; returns the folder that is its PATH."""
    monkeypatch.delenv("MNIST_GPU_DATA", raising=False)
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [])
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    return tmp_path / "bin"


class Mirror:
    """A server on this machine: what it is asked for, and what it answers."""

    def __init__(self, files: dict[str, bytes], trickle: bool = False) -> None:
        self.files, self.asked = files, []
        mirror = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.strip("/")
                mirror.asked.append(name)
                if name not in mirror.files:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.end_headers()
                if not trickle:
                    self.wfile.write(mirror.files[name])
                    return
                while True:
                    self.wfile.write(b"x")
                    time.sleep(0.02)

            def log_message(self, *_arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def mirror(alone, zipped, monkeypatch):
    server = Mirror(dict(zipped))
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [server.url])
    yield server
    server.close()


@pytest.fixture
def load(tmp_path):
    """Load through the cache in `tmp_path / "cache"`; `said` of it are the lines announced."""

    def call(source="mnist", **changes):
        call.said = []
        config = {"source": source, "cache_dir": str(tmp_path / "cache"), **changes}
        return data.load(config, announce=call.said.append)

    return call
