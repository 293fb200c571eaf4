"""A JupyterHub's services: the hub's own, and one user's server, its files and its kernels.

Sources: https://jupyterhub.readthedocs.io/en/stable/reference/rest-api.html,
https://jupyter-server.readthedocs.io/en/latest/developers/rest-api.html,
https://jupyter-client.readthedocs.io/en/stable/messaging.html
"""

import base64
import contextlib
import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from mnist_gpu.errors import UserError
from mnist_gpu.launch.entry import Deadline

CHUNK_BYTES = 4 << 20
CONNECT_S = 20
# for a server that was not up in time, seconds
GIVEN_UP_S = 60
SILENCE_S = 30
RECONNECTIONS = 5


class Api:
    """A REST service that takes a JupyterHub token, in a header and never in a URL."""

    def __init__(self, base: str, token: str) -> None:
        import requests

        self.base = base.rstrip("/")
        self.authorization = f"token {token}"
        self._session = requests.Session()
        self._session.headers["Authorization"] = self.authorization

    def call(self, method: str, path: str, body: Any = None, wait_s: float = 60) -> Any:
        """One request; the reply's JSON, or None where it has no body.

        Raises:
            UserError: the service cannot be reached, or refused; the message says which and why.
        """
        reply = self.raw(method, path, body, wait_s)
        try:
            return reply.json() if reply.content else None
        except ValueError:
            raise UserError(f"{self.base}{path} did not answer as a hub does") from None

    def raw(self, method: str, path: str, body: Any = None, wait_s: float = 60, **more: Any) -> Any:
        """As `call`, but the `requests.Response` itself."""
        import requests

        url, timeout = self.base + path, (CONNECT_S, wait_s)
        try:
            reply = self._session.request(method, url, json=body, timeout=timeout, **more)
        except requests.Timeout:
            raise UserError(f"timeout: no answer from {self.base} in {wait_s:g} s") from None
        except requests.RequestException:
            raise UserError(f"cannot reach {self.base}: wrong URL, or no network?") from None
        # the body says in words what the status says as a number
        if reply.status_code >= 400:
            why = str(reply.reason)
            with contextlib.suppress(ValueError, AttributeError):  # no JSON, or no object
                why = str(reply.json().get("message") or why)
            raise RefusedError(reply.status_code, f"{method} {url}", why)
        return reply


class RefusedError(UserError):
    """The service answered with an error status."""

    def __init__(self, status: int, request: str, message: str) -> None:
        hint = "; make a token with full scope on the hub's page /hub/token"
        hint = hint if status in (401, 403) else ""
        super().__init__(f"{request}: refused ({status}): {message[:200]}{hint}")
        self.status = status


class Hub:
    """A hub, as one of its users; its token is never sent unencrypted over a network."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserError(f"--hub {url}: a URL such as https://hub.example.org")
        _encrypted(url)
        self.root = f"{parts.scheme}://{parts.netloc}"
        prefix = parts.path.rstrip("/").removesuffix("/hub")
        self._api = Api(f"{self.root}{prefix}/hub/api", token)

    def user(self) -> str:
        """The name of the token's owner."""
        return str(self._api.call("GET", "/user")["name"])

    def start(
        self, user: str, server: str, choices: Mapping[str, str], deadline: Deadline
    ) -> tuple[str, bool]:
        """Start a server, or find it running: its URL, and whether this call started it.

        Args:
            user: its owner's name.
            server: its name; empty for the user's default server.
            choices: options of the spawner's form, such as `profile`.
            deadline: until when to wait.

        Raises:
            UserError: it did not start, for the reason the hub gives.
        """
        if url := self._ready(user, server):
            return url, False
        path = self._path(user, server)
        reply = self._api.raw("POST", path, dict(choices))
        try:
            # it is still starting; 201 says that it is up
            if reply.status_code == 202:
                self._watch(f"{path}/progress", deadline)
            while not (url := self._ready(user, server)):
                deadline.pause(1, "starting the server")
        except BaseException:
            # one that comes up after nobody waits for it would be left running
            with contextlib.suppress(UserError):
                self.stop(user, server, Deadline(GIVEN_UP_S))
            raise
        return url, True

    def stop(self, user: str, server: str, deadline: Deadline) -> None:
        """Stop a server, and wait until the hub says that it is gone."""
        asked = False
        while server in self._servers(user):
            try:
                if not asked:
                    self._api.raw("DELETE", self._path(user, server))
                    asked = True
            except RefusedError as exc:
                # of a server that is still starting the hub says 400: it is asked again
                if exc.status != 400:
                    raise
            deadline.pause(1, "stopping the server")

    def _path(self, user: str, server: str) -> str:
        path = f"/users/{quote(user, safe='')}/server"
        return f"{path}s/{quote(server, safe='')}" if server else path

    def _servers(self, user: str) -> dict[str, Any]:
        servers = self._api.call("GET", f"/users/{quote(user, safe='')}").get("servers")
        return dict(servers or {})

    def _ready(self, user: str, server: str) -> str | None:
        found = self._servers(user).get(server)
        if not (found and found["ready"]):
            return None
        # where users have hosts of their own, `url` is whole since JupyterHub 6
        url = str(found.get("full_url") or found["url"]).rstrip("/")
        return _encrypted(url if "://" in url else self.root + url)

    def _watch(self, path: str, deadline: Deadline) -> None:
        """Print the hub's progress messages until the server is ready, or the stream falls silent;
        a UserError where the hub says that it could not start it."""
        import requests

        reply = self._api.raw("GET", path, wait_s=deadline.left_s() or 1, stream=True)
        with contextlib.suppress(requests.RequestException):
            for line in reply.iter_lines():
                if line.startswith(b"data:"):
                    event = json.loads(line.removeprefix(b"data:"))
                    print(f"hub: {event.get('message', '')}", flush=True)
                    if event.get("failed"):
                        raise UserError(f"the hub could not start a server: {event.get('message')}")
                    if event.get("ready"):
                        return
                deadline.pause(0, "starting the server")


def _encrypted(url: str) -> str:
    parts = urlsplit(url)
    here = parts.hostname in ("127.0.0.1", "::1") or f".{parts.hostname}".endswith(".localhost")
    if parts.scheme == "https" or here:
        return url
    raise UserError(f"{url}: http would send the token readable: use https")


class Server(Api):
    """One user's server: an API with files, through its Contents API."""

    def make_folder(self, name: str) -> None:
        """Make a folder in the server's root."""
        self.call("PUT", f"/api/contents/{quote(name)}", {"type": "directory"})

    def write(self, path: str, content: bytes) -> None:
        """Write a file; a large one in pieces, below the server's limit on a request."""
        pieces = [content[i : i + CHUNK_BYTES] for i in range(0, len(content), CHUNK_BYTES)]
        for number, piece in enumerate(pieces, start=1):
            # JSON holds texts alone
            text = base64.b64encode(piece).decode()
            body: dict[str, Any] = {"type": "file", "format": "base64", "content": text}
            if len(pieces) > 1:
                # -1: the last
                body["chunk"] = -1 if number == len(pieces) else number
            self.call("PUT", f"/api/contents/{quote(path)}", body, wait_s=300)

    def read(self, path: str) -> bytes:
        """A file's content."""
        query = "?content=1&format=base64&type=file"
        found = self.call("GET", f"/api/contents/{quote(path)}{query}")
        return base64.b64decode(found["content"])


class Kernel:
    """A kernel in a folder below the server's root; flowing output keeps cullers away."""

    def __init__(self, api: Api, name: str, folder: str) -> None:
        self._api = api
        made = api.call("POST", "/api/kernels", {"name": name, "path": folder})
        self._path = f"/api/kernels/{made['id']}"
        self._session = uuid.uuid4().hex

    def run(self, code: str, deadline: Deadline) -> Iterator[str]:
        """Execute `code`; yields its output as it comes and returns when it has ended.

        Raises:
            UserError: the deadline passed, the kernel died, or the connection stayed broken.
        """
        import websocket

        request = uuid.uuid4().hex
        socket = self._connect()
        socket.send(json.dumps(self._execute_request(request, code)))
        broken = 0
        while True:
            try:
                text = socket.recv()
            except websocket.WebSocketTimeoutException:
                if self._state() == "dead":
                    raise UserError("the kernel died: out of memory on the hub?") from None
                deadline.pause(0, "the run")
                continue
            except (websocket.WebSocketException, OSError):
                text = ""
            if not text:
                broken += 1
                if broken > RECONNECTIONS:
                    raise UserError("the connection to the kernel broke and did not come back")
                deadline.pause(min(2**broken, 20), "the run")
                # the server kept what it could not deliver to this session
                with contextlib.suppress(UserError):
                    socket = self._connect()
                if self._state() == "idle":
                    return
                continue
            broken = 0
            message = json.loads(text)
            if message.get("parent_header", {}).get("msg_id") == request:
                yield _output(message)
                if _ends(message):
                    return
            # output that never pauses is no reason to go on past it
            deadline.pause(0, "the run")

    def close(self) -> None:
        """Interrupt what runs, and end the kernel; a server that is gone is no fault."""
        for method, path in (("POST", f"{self._path}/interrupt"), ("DELETE", self._path)):
            with contextlib.suppress(UserError):
                self._api.call(method, path)

    def _connect(self) -> Any:
        import websocket

        url = self._api.base.replace("http", "ws", 1) + self._path
        header = [f"Authorization: {self._api.authorization}"]
        try:
            return websocket.create_connection(
                f"{url}/channels?session_id={self._session}", header=header, timeout=SILENCE_S
            )
        except (websocket.WebSocketException, OSError) as exc:
            raise UserError(f"no websocket to the kernel: {type(exc).__name__}") from None

    def _state(self) -> str:
        try:
            return str(self._api.call("GET", self._path)["execution_state"])
        except UserError:
            return "unknown"

    def _execute_request(self, message_id: str, code: str) -> dict[str, Any]:
        kind = {"msg_id": message_id, "msg_type": "execute_request", "version": "5.3"}
        header = {**kind, "session": self._session, "username": "", "date": ""}
        content = {"code": code, "silent": False, "allow_stdin": False}
        return {"channel": "shell", "header": header, "parent_header": {}, "metadata": {},
                "content": content}  # fmt: skip


def _output(message: dict[str, Any]) -> str:
    """The text of one message, or nothing."""
    kind, content = message["header"]["msg_type"], message["content"]
    if kind == "stream":
        return str(content["text"])
    return f"{content['ename']}: {content['evalue']}\n" if kind == "error" else ""


def _ends(message: dict[str, Any]) -> bool:
    ended = message["content"].get("execution_state") in ("idle", "dead", "restarting")
    return ended and message["header"]["msg_type"] == "status"
