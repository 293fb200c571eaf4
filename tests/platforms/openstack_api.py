"""A stand-in for OpenStack's APIs that the real SDK talks to: no cloud, and nothing runs on it.

It answers what creating, watching and deleting one server asks (Keystone v3, Nova 2.1, Glance 2,
Neutron 2), and misbehaves on demand in the ways clouds do.
"""

import base64
import gzip
import hashlib
import http.server
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.records import make_document

SECRET = "stand-in-secret-77ab"
# of the launcher, in every test
LAUNCH = "jetstream"
OPTIONS = ("--source", "installed", "--poll", "0.1")


@dataclass
class OpenStack:
    """What the stand-in holds, and how it misbehaves.

    Attributes:
        says: from the tag in the user data to what the server's console shows.
        quota: refuse to create.
        lose_reply: create, but fail to answer.
        boot_error: the server goes to ERROR.
        refuse_deletions: so many deletions fail first.
        new_project: there is no network until one is asked for.
        disk_gb: of the flavor.
    """

    says: Callable[[str], str] = lambda tag: ""
    quota: bool = False
    lose_reply: bool = False
    boot_error: bool = False
    refuse_deletions: int = 0
    new_project: bool = False
    disk_gb: int = 60
    servers: dict[str, dict] = field(default_factory=dict)
    created: list[dict] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    on_active: Callable[[], None] = lambda: None
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        """Variables as an application credential's openrc file sets them."""
        return {
            "OS_AUTH_TYPE": "v3applicationcredential",
            "OS_AUTH_URL": f"{self.url}/identity/v3",
            "OS_APPLICATION_CREDENTIAL_ID": "abc",
            "OS_APPLICATION_CREDENTIAL_SECRET": SECRET,
            "OS_REGION_NAME": "IU",
        }

    def start(self) -> http.server.ThreadingHTTPServer:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.port = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    def answer(self, method: str, path: str, body: dict) -> tuple[int, dict, dict]:
        """Status, JSON body and extra headers."""
        self.calls.append(f"{method} {path}")
        path, _, query = path.partition("?")
        if "marker=" in query:  # the second page of any list
            return 200, {path.split("/")[-1].replace("detail", path.split("/")[-2]): []}, {}
        if path.startswith("/identity"):
            return self._identity(method, path, body)
        if path in ("/compute/v2.1", "/compute/v2.1/"):
            version = {"id": "v2.1", "status": "CURRENT", "version": "2.96", "min_version": "2.1"}
            return 200, {"version": {**version, "links": self._self("/compute/v2.1/")}}, {}
        if path.startswith("/compute/v2.1/flavors"):
            return self._found("flavors", "g3.xl", path.rsplit("/", 1)[-1])
        if self.new_project and "/auto-allocated-topology/" in path:
            return 200, {"auto_allocated_topology": {"id": "made-id", "tenant_id": "p"}}, {}
        if self.new_project and path.startswith("/network/v2.0/networks"):
            return (200, {"networks": []}, {}) if path.endswith("networks") else (404, {}, {})
        for service, version, many, name in (
            ("image", "2", "images", "Featured-Ubuntu24"),
            ("network", "2.0", "networks", "auto_allocated_network"),
        ):
            if path.rstrip("/") == f"/{service}":
                links = self._self(f"/{service}/v{version}/")
                shown = {"id": f"v{version}", "status": "CURRENT", "links": links}
                return 200, {"versions": [shown]}, {}
            if path.startswith(f"/{service}"):
                return self._found(many, name, path.rsplit("/", 1)[-1])
        return self._compute(method, path.removeprefix("/compute/v2.1"), query, body)

    def _identity(self, method: str, path: str, body: dict) -> tuple[int, dict, dict]:
        if method == "GET":
            version = {"id": "v3.14", "status": "stable", "links": self._self("/identity/v3/")}
            return 200, {"version": version}, {}
        secret = body["auth"]["identity"]["application_credential"]["secret"]
        if secret != SECRET:
            return 401, {"error": {"code": 401, "message": "Unauthorized", "title": "no"}}, {}
        catalog = [
            {"type": kind, "name": kind, "id": kind, "endpoints": [
                {"id": kind, "interface": "public", "region": "IU", "region_id": "IU",
                 "url": f"{self.url}{path}"}]}
            for kind, path in (("identity", "/identity/v3"), ("compute", "/compute/v2.1"),
                               ("image", "/image"), ("network", "/network"))
        ]  # fmt: skip
        token = {"methods": ["application_credential"], "catalog": catalog, "user": {
            "id": "u", "name": "u", "domain": {"id": "d", "name": "d"}},
            "project": {"id": "p", "name": "p", "domain": {"id": "d", "name": "d"}},
            "expires_at": "2099-01-01T00:00:00.000000Z", "issued_at": "2026-01-01T00:00:00.000000Z",
        }  # fmt: skip
        return 201, {"token": token}, {"X-Subject-Token": "token"}

    def _self(self, path: str) -> list[dict]:
        return [{"rel": "self", "href": f"{self.url}{path}"}]

    def _found(self, many: str, name: str, tail: str) -> tuple[int, dict, dict]:
        """A list with its one entry; that entry by id, or nothing."""
        entry = {"id": f"{many}-id", "name": name, "disk": self.disk_gb}
        if tail in (many, "detail"):
            return 200, {many: [entry]}, {}
        return (200, {many[:-1]: entry}, {}) if tail == entry["id"] else (404, {}, {})

    def _compute(self, method: str, path: str, query: str, body: dict) -> tuple[int, dict, dict]:
        tail = path.rsplit("/", 1)[-1]
        if method == "POST" and path == "/servers":
            return self._create(body["server"])
        if method == "POST" and tail == "action":
            server = self.servers[path.split("/")[2]]
            return 200, {"output": server["console"]}, {}
        if method == "DELETE":
            if self.refuse_deletions:
                self.refuse_deletions -= 1
                return 500, {"computeFault": {"code": 500, "message": "database is locked"}}, {}
            self.servers.pop(tail, None)
            self.deleted.append(tail)
            return 204, {}, {}
        if tail in ("servers", "detail"):
            name = re.search(r"name=([^&]+)", query)
            known = [s for s in self.servers.values() if not name or name[1] in s["name"]]
            return 200, {"servers": [self._shown(server) for server in known]}, {}
        if tail in self.servers:
            return 200, {"server": self._shown(self._step(self.servers[tail]))}, {}
        return 404, {"itemNotFound": {"code": 404, "message": "no such server"}}, {}

    def _create(self, server: dict) -> tuple[int, dict, dict]:
        self.created.append(server)
        if self.quota:
            message = "Quota exceeded for cores: Requested 32, but already used 0 of 16 cores"
            return 403, {"forbidden": {"code": 403, "message": message}}, {}
        key = f"server-{len(self.created)}"
        tag = server["name"].rsplit("-", 1)[-1]
        self.servers[key] = {"id": key, "name": server["name"], "status": "BUILD",
            "metadata": server.get("metadata", {}), "console": "", "tag": tag}  # fmt: skip
        if self.lose_reply:
            return 504, {"error": {"code": 504, "message": "gateway timeout"}}, {}
        return 202, {"server": {"id": key, "links": [], "adminPass": "x"}}, {}

    def _step(self, server: dict) -> dict:
        if self.boot_error:
            server["status"] = "ERROR"
            server["fault"] = {"code": 500, "message": "No valid host was found"}
        elif server["status"] == "BUILD":
            server["status"] = "ACTIVE"
        elif server["status"] == "ACTIVE":
            self.on_active()
            server["console"] = self.says(server["tag"])
            if server["console"]:
                server["status"] = "SHUTOFF"
        return server

    def _shown(self, server: dict) -> dict:
        return {key: value for key, value in server.items() if key not in ("console", "tag")}


def bootstrap_of(created: dict) -> str:
    """The script that cloud-init would write, from a server's user data."""
    text = base64.b64decode(created["user_data"]).decode()
    config = json.loads(text.removeprefix("#cloud-config"))
    [entry] = config["write_files"]
    return gzip.decompress(base64.b64decode(entry["content"])).decode()


def _handler(cloud: OpenStack) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def _do(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, reply, headers = cloud.answer(self.command, self.path, json.loads(raw or b"{}"))
            content = b"" if status == 204 else json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = _do

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def result_line(tag: str, **changes: object) -> str:
    """What a run's end says on the console."""
    record = make_document(platform="jetstream", kind="hpc", **changes)
    text = json.dumps(record, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()
    result = {"tag": tag, "status": "completed", "sha256": digest, "record": record}
    return f"MNIST_GPU_RESULT {json.dumps(result)}"
