"""A stand-in for Kaggle's API that the real client talks to, and that really runs the kernel.

It is no Kaggle: it answers the calls that pushing, following and fetching make, as observed from
the client. The kernel's text runs in a folder laid out and an environment set as on Kaggle; only
`/kaggle/input` is another folder here.
"""

import http.server
import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

TOKEN = "stand-in-token-1f9c"
# read in a kernel's session: docs/platforms/kaggle.md
ENVIRONMENT = {
    "KAGGLE_KERNEL_RUN_TYPE": "Batch",
    "KAGGLE_URL_BASE": "https://www.kaggle.com",
    "KAGGLE_CONTAINER_NAME": "stand-in",
    "COLAB_RELEASE_TAG": "release-colab-external-images_20260514-060047_RC00",
    "MKL_THREADING_LAYER": "GNU",
}


@dataclass
class Kaggle:
    """What the stand-in was sent, and how it should behave."""

    home: Path
    kernel: dict = field(default_factory=dict)
    uploads: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    dataset: dict = field(default_factory=dict)
    status: str = ""
    log: str = ""
    refuse: str = ""
    asked: int = 0
    run_kernel: bool = True
    ends_as: str = "QUEUED"
    port: int = 0
    thread: threading.Thread | None = None

    def environment(self) -> dict[str, str]:
        """Variables under which Kaggle's client talks to this stand-in and to nobody else."""
        here = f"http://127.0.0.1:{self.port}"
        proxied = {"HTTP_PROXY": here, "http_proxy": here, "NO_PROXY": "", "no_proxy": ""}
        config = str(self.home / "client")
        return {**proxied, "KAGGLE_API_ENVIRONMENT": "LOCALHOST", "KAGGLE_API_TOKEN": TOKEN,
                "KAGGLE_CONFIG_DIR": config, "HOME": config}  # fmt: skip

    def start(self) -> http.server.ThreadingHTTPServer:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.port = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    def answer(self, path: str, body: dict) -> tuple[int, dict]:
        call = path.rsplit("/", 1)[-1]
        return getattr(self, f"_{call}", lambda _: (404, {"code": 404, "message": call}))(body)

    def _IntrospectToken(self, body: dict) -> tuple[int, dict]:
        return 200, {"active": body.get("token") == TOKEN, "username": "ada"}

    def _SaveKernel(self, body: dict) -> tuple[int, dict]:
        if self.refuse:
            return 200, {"error": self.refuse}
        known = {f"ada/{self.dataset.get('slug')}"} if self.dataset else set()
        wrong = [name for name in body.get("datasetDataSources", []) if name not in known]
        self.kernel = body
        self.status, self.asked = self.ends_as, 0
        if self.run_kernel:
            self.thread = threading.Thread(target=self._run)
            self.thread.start()
        url = f"https://www.kaggle.com/code/{body['slug']}"
        return 200, {"url": url, "versionNumber": 1, "invalidDatasetSources": wrong}

    def _GetKernelSessionStatus(self, _: dict) -> tuple[int, dict]:
        self.asked += 1
        return (
            (200, {"status": self.status}) if self.status else (403, {"code": 403, "message": ""})
        )

    def _ListKernelSessionOutput(self, _: dict) -> tuple[int, dict]:
        working = self.home / "kaggle" / "working"
        files = [
            {"fileName": str(path.relative_to(working)), "url": f"http://localhost/files/{path}"}
            for path in sorted(working.rglob("*"))
            if path.is_file()
        ]
        return 200, {"files": files, "log": self.log}

    def _GetDatasetStatus(self, _: dict) -> tuple[int, dict]:
        return (200, {"status": "READY"}) if self.dataset else (404, {"code": 404, "message": "no"})

    def _StartBlobUpload(self, body: dict) -> tuple[int, dict]:
        token = f"blob{len(self.uploads)}"
        self.uploads[token] = (body["name"], b"")
        return 200, {"token": token, "createUrl": f"http://localhost/upload/{token}"}

    def _CreateDataset(self, body: dict) -> tuple[int, dict]:
        self.dataset = {"slug": body["slug"], "files": body["files"], "private": body["isPrivate"]}
        folder = self.home / "kaggle" / "input" / body["slug"]
        folder.mkdir(parents=True)
        for entry in body["files"]:
            name, content = self.uploads[entry["token"]]
            (folder / name).write_bytes(content)
        return 200, {"status": "ok", "url": "https://www.kaggle.com/datasets/ada/x"}

    def _run(self) -> None:
        self.status = "RUNNING"
        root = self.home / "kaggle"
        for name in ("working", "input", "src"):
            (root / name).mkdir(parents=True, exist_ok=True)
        script = root / "src" / "script.py"
        text = self.kernel["text"].replace("/kaggle/input", str(root / "input"))
        script.write_text(text)
        done = subprocess.run(
            [sys.executable, str(script)],
            cwd=root / "working",
            env={**os.environ, **ENVIRONMENT, "PIP_NO_INDEX": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        lines = done.stdout.splitlines(keepends=True) + done.stderr.splitlines(keepends=True)
        self.log = json.dumps([{"stream_name": "stdout", "time": 1, "data": x} for x in lines])
        self.status = "COMPLETE" if done.returncode == 0 else "ERROR"


def _handler(kaggle: Kaggle) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self._body() or b"{}")
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self._send(401, b'{"code": 401, "message": "Unauthenticated"}')
            status, reply = kaggle.answer(self.path, body)
            return self._send(status, json.dumps(reply).encode())

        def do_PUT(self) -> None:
            token = self.path.rsplit("/", 1)[-1]
            kaggle.uploads[token] = (kaggle.uploads[token][0], self._body())
            self._send(200, b"{}")

        def do_GET(self) -> None:
            self._send(200, Path(self.path.split("/files/", 1)[1]).read_bytes())

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def _send(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
