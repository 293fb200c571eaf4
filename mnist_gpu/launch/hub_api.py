"""The two REST services of a JupyterHub: the hub's own, and one user's Jupyter server.

Sources: https://jupyterhub.readthedocs.io/en/stable/reference/rest-api.html,
https://jupyter-server.readthedocs.io/en/latest/developers/rest-api.html
"""

import base64
import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from mnist_gpu.errors import UserError
from mnist_gpu.launch.entry import Deadline

CHUNK_BYTES = 4 << 20
CONNECT_S = 20
# for a server that was not up in time, seconds
GIVEN_UP_S = 60


class Api:
    """A REST service that takes a JupyterHub token.

    Args:
        base: URL without a trailing slash.
        token: sent in a header, never in a URL.
    """

    def __init__(self, base: str, token: str) -> None:
        import requests

        self.base = base.rstrip("/")
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"token {token}"

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

        try:
            reply = self._session.request(
                method, self.base + path, json=body, timeout=(CONNECT_S, wait_s), **more
            )
        except requests.Timeout:
            raise UserError(f"timeout: no answer from {self.base} in {wait_s:g} s") from None
        except requests.RequestException:
            raise UserError(f"cannot reach {self.base}: wrong URL, or no network?") from None
        if reply.status_code >= 400:
            raise RefusedError(reply.status_code, f"{method} {self.base}{path}", _message(reply))
        return reply


class RefusedError(UserError):
    """The service answered with an error status."""

    def __init__(self, status: int, request: str, message: str) -> None:
        hint = ""
        if status in (401, 403):
            hint = "; make a token with full scope on the hub's page /hub/token"
        super().__init__(f"{request}: refused ({status}): {message}{hint}")
        self.status = status


def _message(reply: Any) -> str:
    try:
        return str(reply.json().get("message") or reply.reason)[:200]
    except (ValueError, AttributeError):
        return str(reply.reason)


class Hub:
    """A hub, as one of its users.

    Raises:
        UserError: the URL would send the token unencrypted over a network.
    """

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserError(f"--hub {url}: a URL such as https://hub.example.org")
        _encrypted(url)
        self.root = f"{parts.scheme}://{parts.netloc}"
        prefix = parts.path.rstrip("/")
        self._api = Api(f"{self.root}{prefix.removesuffix('/hub')}/hub/api", token)

    def user(self) -> str:
        """The name of the token's owner."""
        return str(self._api.call("GET", "/user")["name"])

    def start(
        self, user: str, server: str, choices: Mapping[str, str], deadline: Deadline
    ) -> tuple[str, bool]:
        """Start a server, or find it running.

        Args:
            user: its owner's name.
            server: its name; empty for the user's default server.
            choices: options of the spawner's form, such as `profile`.
            deadline: until when to wait.

        Returns:
            Its URL, and whether this call started it.

        Raises:
            UserError: it did not start, for the reason the hub gives.
        """
        if url := self._ready(user, server):
            return url, False
        path = self._path(user, server)
        reply = self._api.raw("POST", path, dict(choices))
        try:
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
            if not asked:
                asked = self._asked_to_stop(user, server)
            deadline.pause(1, "stopping the server")

    def _asked_to_stop(self, user: str, server: str) -> bool:
        """Whether the hub took it: of a server that is still starting it says 400."""
        try:
            self._api.raw("DELETE", self._path(user, server))
        except RefusedError as refused:
            if refused.status != 400:
                raise
            return False
        return True

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
        """Print the hub's progress messages until the server is ready."""
        reply = self._api.raw("GET", path, wait_s=deadline.left_s() or 1, stream=True)
        for raw in _lines(reply):
            line = raw.decode(errors="replace")
            if line.startswith("data:"):
                event = json.loads(line.removeprefix("data:"))
                print(f"hub: {event.get('message', '')}", flush=True)
                if event.get("failed"):
                    raise UserError(f"the hub could not start a server: {event.get('message')}")
                if event.get("ready"):
                    break
            deadline.pause(0, "starting the server")


def _lines(reply: Any) -> Iterator[bytes]:
    """A stream's lines; where it breaks off or falls silent, those until then."""
    import requests

    with contextlib.suppress(requests.RequestException):
        yield from reply.iter_lines()


def _encrypted(url: str) -> str:
    parts = urlsplit(url)
    here = parts.hostname in ("127.0.0.1", "::1") or f".{parts.hostname}".endswith(".localhost")
    if parts.scheme == "https" or here:
        return url
    raise UserError(f"{url}: http would send the token readable: use https")


class Files:
    """The files of one user's server, through its Contents API."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def make_folder(self, name: str) -> None:
        """Make a folder in the server's root."""
        self._api.call("PUT", f"/api/contents/{quote(name)}", {"type": "directory"})

    def write(self, path: str, content: bytes) -> None:
        """Write a file; a large one in pieces, below the server's limit on a request."""
        pieces = [content[i : i + CHUNK_BYTES] for i in range(0, len(content), CHUNK_BYTES)]
        for number, piece in enumerate(pieces or [b""], start=1):
            body: dict[str, Any] = {
                "type": "file",
                "format": "base64",
                "content": base64.b64encode(piece).decode(),
            }
            if len(pieces) > 1:
                body["chunk"] = -1 if number == len(pieces) else number
            self._api.call("PUT", f"/api/contents/{quote(path)}", body, wait_s=300)

    def upload(self, path: str, source: Path) -> None:
        """Write a local file."""
        self.write(path, source.read_bytes())

    def read(self, path: str) -> bytes:
        """A file's content."""
        query = "?content=1&format=base64&type=file"
        return base64.b64decode(
            self._api.call("GET", f"/api/contents/{quote(path)}{query}")["content"]
        )
