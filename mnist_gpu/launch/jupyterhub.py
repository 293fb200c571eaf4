"""Run the benchmark on a JupyterHub from outside it: start a server, train, fetch, stop.

The token comes from the environment's JUPYTERHUB_API_TOKEN (make one on the hub's page
/hub/token) and is never printed. A server that ran before is used and left running.
"""

import argparse
import contextlib
import os

from mnist_gpu.errors import UserError
from mnist_gpu.launch import entry, marked, payload
from mnist_gpu.launch.hub_api import Hub, Kernel, Server

TOKEN = "JUPYTERHUB_API_TOKEN"  # noqa: S105 - a variable's name
# time kept back from the run, to stop it and to fetch what it left
CLOSING_S = 60
CODE = "import sys; sys.path.insert(0, '.'); import bootstrap; _ = bootstrap.main([])"


def main(argv: list[str] | None = None) -> int:
    """Command line of `scripts/jupyterhub/launch.py`."""
    chosen = entry.parse(_parser(), argv)
    hub_url = chosen.hub or os.environ.get("JUPYTERHUB_URL", "")
    which = "which hub? give --hub https://hub.example.org"
    hub_url = entry.needed(hub_url, which, "https://HUB", chosen.dry_run)
    if chosen.dry_run:
        return _show(chosen, hub_url)
    token = os.environ.get(TOKEN, "").strip()
    if not token:
        raise UserError(f"{TOKEN} is not set: make one on {hub_url}/hub/token")
    hub, deadline = Hub(hub_url, token), entry.Deadline(chosen.timeout, option="--timeout")
    user = hub.user()
    choices = dict(option.split("=", 1) for option in chosen.option)
    # a server that ran before is somebody's session
    url, started = hub.start(user, chosen.server, choices, deadline)
    print(f"server {'started' if started else 'was running'}: {url}", flush=True)
    try:
        results = _bench(Server(url, token), chosen, deadline)
    finally:
        if started and not chosen.keep_server:
            with contextlib.suppress(KeyboardInterrupt):
                hub.stop(user, chosen.server, entry.Deadline(CLOSING_S))
                print("server stopped", flush=True)
    return marked.keep(results, "jupyterhub", chosen.out)


def _bench(
    server: Server, chosen: argparse.Namespace, deadline: entry.Deadline
) -> dict[str, marked.Result]:
    """Send the bootstrap, run it in a kernel, print its output, return its results by engine."""
    folder = f"mnist-gpu-{chosen.tag}"
    server.make_folder(folder)
    if chosen.bundle:
        server.write(f"{folder}/bundle.zip", chosen.bundle.read_bytes())
    # after the upload, which took its part of the time; the run ends before this launch does
    seconds = max(1.0, deadline.left_s() - CLOSING_S)
    settings = payload.settings(chosen, seconds, bundle_at="bundle.zip", into=".")
    server.write(f"{folder}/bootstrap.py", payload.bootstrap(settings).encode())
    kernel = Kernel(server, chosen.kernel, folder)
    log = []
    try:
        for text in kernel.run(CODE, deadline):
            print(text, end="", flush=True)
            log.append(text)
    finally:
        # a run that is still going writes its record and ends
        kernel.close()
    if found := marked.find_results("".join(log), chosen.tag):
        return found
    # the output was lost on the way, and the records may lie there all the same
    texts = {}
    for engine in chosen.engines.split(","):
        stem = "record" if engine == marked.OWN else f"record-{engine}"
        with contextlib.suppress(UserError):
            texts[stem] = server.read(f"{folder}/{stem}.json")
    return marked.of_files(texts)


def _show(chosen: argparse.Namespace, hub_url: str) -> int:
    named = f"s/{chosen.server}" if chosen.server else ""
    sent = "bootstrap.py and the bundle" if chosen.bundle else "bootstrap.py"
    return entry.show(
        f"GET {hub_url}/hub/api/user with ${TOKEN}",
        f"POST .../users/USER/server{named} unless running",
        f"PUT {sent} into a new folder mnist-gpu-TAG of the server",
        f"{entry.run_there(chosen)}, in kernel {chosen.kernel}",
        f"write the record below {chosen.out}/",
        "leave the server running" if chosen.keep_server else "DELETE the server if started here",
    )


def _parser() -> argparse.ArgumentParser:
    parser = entry.options(__doc__, "jupyterhub", 6 * 3600)
    add = parser.add_argument
    add("--hub", help="the hub's URL (or the environment's JUPYTERHUB_URL)")
    add("--server", default="", help="a named server (else the user's default one)")
    add("--kernel", default="python3", help="kernelspec to run in (python3)")
    add("--option", action="append", default=[], metavar="KEY=VALUE", help="the spawner's form")
    add("--keep-server", action="store_true", help="leave the server running at the end")
    return parser
