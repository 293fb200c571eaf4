"""Code run in a kernel of a user's server, its output streamed back.

Messages: https://jupyter-client.readthedocs.io/en/stable/messaging.html
"""

import contextlib
import json
import uuid
from collections.abc import Iterator
from typing import Any

from mnist_gpu.errors import UserError
from mnist_gpu.launch.entry import Deadline
from mnist_gpu.launch.hub_api import Api

SILENCE_S = 30
RECONNECTIONS = 5


class Kernel:
    """A kernel of its own; a connected client and flowing output keep cullers away.

    Args:
        api: the user's server.
        token: goes into a header of the websocket's handshake.
        name: kernelspec.
        folder: working folder, below the server's root.
    """

    def __init__(self, api: Api, token: str, name: str, folder: str) -> None:
        self._api = api
        self._token = token
        self._id = str(api.call("POST", "/api/kernels", {"name": name, "path": folder})["id"])
        self._session = uuid.uuid4().hex

    def run(self, code: str, deadline: Deadline) -> Iterator[str]:
        """Execute `code`; yields its output as it comes and returns when it has ended.

        Raises:
            UserError: the deadline passed, the kernel died, or the connection stayed broken.
        """
        import websocket

        request = uuid.uuid4().hex
        socket = self._connect(websocket)
        socket.send(json.dumps(self._execute_request(request, code)))
        broken = 0
        while True:
            try:
                text = socket.recv()
            except websocket.WebSocketTimeoutException:
                self._check_alive()
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
                    socket = self._connect(websocket)
                if self._state() == "idle":
                    return
                continue
            broken = 0
            message = json.loads(text)
            if message.get("parent_header", {}).get("msg_id") == request:
                output, ended = _read(message)
                if output:
                    yield output
                if ended:
                    return
            deadline.pause(0, "the run")

    def interrupt(self) -> None:
        """As Ctrl-C in the kernel."""
        self._api.call("POST", f"/api/kernels/{self._id}/interrupt")

    def close(self) -> None:
        """Shut the kernel down; one that is gone already is no fault."""
        with contextlib.suppress(UserError):
            self._api.call("DELETE", f"/api/kernels/{self._id}")

    def _connect(self, websocket: Any) -> Any:
        url = self._api.base.replace("http", "ws", 1)
        try:
            return websocket.create_connection(
                f"{url}/api/kernels/{self._id}/channels?session_id={self._session}",
                header=[f"Authorization: token {self._token}"],
                timeout=SILENCE_S,
            )
        except (websocket.WebSocketException, OSError) as fault:
            raise UserError(f"no websocket to the kernel: {type(fault).__name__}") from None

    def _state(self) -> str:
        try:
            return str(self._api.call("GET", f"/api/kernels/{self._id}")["execution_state"])
        except UserError:
            return "unknown"

    def _check_alive(self) -> None:
        if self._state() == "dead":
            raise UserError("the kernel died: out of memory on the hub?")

    def _execute_request(self, message_id: str, code: str) -> dict[str, Any]:
        header = {
            "msg_id": message_id,
            "username": "",
            "session": self._session,
            "msg_type": "execute_request",
            "version": "5.3",
            "date": "",
        }
        content = {
            "code": code,
            "silent": False,
            "store_history": False,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": True,
        }
        return {
            "header": header,
            "parent_header": {},
            "metadata": {},
            "content": content,
            "channel": "shell",
        }


def _read(message: dict[str, Any]) -> tuple[str, bool]:
    """The text of one message, and whether execution has ended with it."""
    kind, content = message["header"]["msg_type"], message["content"]
    if kind == "stream":
        return str(content["text"]), False
    if kind == "error":
        return f"{content['ename']}: {content['evalue']}\n", False
    if kind == "status" and content["execution_state"] in ("idle", "dead", "restarting"):
        return "", True
    return "", False
