"""Run the benchmark on a JupyterHub from outside it: start a server, train, fetch, stop.

The token comes from the environment's JUPYTERHUB_API_TOKEN (make one on the hub's page
/hub/token) and is never printed. A server that ran before is used and left running.
"""

import argparse
import contextlib
import json
import os

from mnist_gpu.errors import UserError
from mnist_gpu.launch import entry, marked, payload
from mnist_gpu.launch.bundle import digest
from mnist_gpu.launch.hub_api import Api, Files, Hub
from mnist_gpu.launch.hub_kernel import Kernel

TOKEN = "JUPYTERHUB_API_TOKEN"  # noqa: S105 - a variable's name
# time kept back from the run, to stop it and to fetch what it left
CLOSING_S = 60


def main(argv: list[str] | None = None) -> int:
    """Command line of `scripts/jupyterhub/launch.py`."""
    chosen = entry.parse(_parser(), argv)
    hub_url = chosen.hub or os.environ.get("JUPYTERHUB_URL", "")
    which = "which hub? give --hub https://hub.example.org"
    if chosen.dry_run and not hub_url:
        hub_url = entry.placeholder(which, "https://HUB")
    if not hub_url:
        raise UserError(which, exit_code=2)
    token = "" if chosen.dry_run else entry.secret(TOKEN, f"make one on {hub_url}/hub/token")
    hub = Hub(hub_url, token)
    if chosen.dry_run:
        print(entry.without_secrets(_plan(chosen, hub_url)))
        return 0
    deadline = entry.Deadline(chosen.timeout)
    user = hub.user()
    choices = dict(option.split("=", 1) for option in chosen.option)
    url, started = hub.start(user, chosen.server, choices, deadline)
    print(f"server {'started' if started else 'was running'}: {url}", flush=True)
    try:
        results = _bench(Api(url, token), token, chosen, deadline)
    finally:
        if started and not chosen.keep_server:
            with contextlib.suppress(KeyboardInterrupt):
                hub.stop(user, chosen.server, entry.Deadline(CLOSING_S))
                print("server stopped", flush=True)
    return marked.keep(results, "jupyterhub", chosen.out)


def _bench(
    server: Api, token: str, chosen: argparse.Namespace, deadline: entry.Deadline
) -> dict[str, marked.Result]:
    """Send the bootstrap, run it in a kernel, print its output, return its results by engine."""
    tag = payload.new_tag()
    folder = f"mnist-gpu-{tag}"
    files = Files(server)
    files.make_folder(folder)
    files.write(f"{folder}/bootstrap.py", payload.bootstrap().encode())
    if chosen.bundle:
        files.upload(f"{folder}/bundle.zip", chosen.bundle)
    kernel = Kernel(server, token, chosen.kernel, folder)
    log = []
    try:
        code = _code(chosen, tag, deadline)
        for text in kernel.run(code, deadline):
            print(text, end="", flush=True)
            log.append(text)
    finally:
        # a run that is still going writes its record and ends
        with contextlib.suppress(UserError):
            kernel.interrupt()
        kernel.close()
    found = marked.find_results("".join(log), tag)
    return found or _from_files(files, folder, chosen.engines.split(","))


def _code(chosen: argparse.Namespace, tag: str, deadline: entry.Deadline) -> str:
    """What the kernel executes: the bootstrap, whose run ends before this launch does."""
    seconds = max(1.0, deadline.left_s() - CLOSING_S)
    arguments = ["--into", ".", "--tag", tag, "--timeout", f"{seconds:.0f}"]
    arguments += ["--engines", chosen.engines]
    if chosen.bundle:
        arguments += ["--bundle", "bundle.zip", "--manifest", digest(chosen.bundle)]
    else:
        arguments += ["--source", chosen.source]
    arguments += ["--", *chosen.overrides]
    call = f"bootstrap.main(json.loads({json.dumps(arguments)!r}))"
    return f"import json, sys; sys.path.insert(0, '.'); import bootstrap; _ = {call}"


def _from_files(files: Files, folder: str, engines: list[str]) -> dict[str, marked.Result]:
    """The records as they lie on the hub, where the output was lost on the way."""
    found = {}
    for engine in engines:
        with contextlib.suppress(UserError, ValueError):
            record = json.loads(files.read(f"{folder}/{marked.file_name(engine)}"))
            found[engine] = marked.of_file(record, engine)
    return found


def _plan(chosen: argparse.Namespace, hub_url: str) -> str:
    source = f"upload {chosen.bundle}" if chosen.bundle else f"install {chosen.source} there"
    steps = [
        f"GET {hub_url}/hub/api/user with ${TOKEN}",
        f"POST .../users/USER/server{'s/' + chosen.server if chosen.server else ''} unless running",
        "PUT bootstrap.py into a new folder mnist-gpu-TAG of the server",
        f"{source}, then run in kernel {chosen.kernel}: mnist_gpu.train "
        + f"{' '.join(chosen.overrides)} (engines: {chosen.engines})",
        f"write the record below {chosen.out}/",
        "leave the server running" if chosen.keep_server else "DELETE the server if started here",
    ]
    return "\n".join(f"{number}. {step}" for number, step in enumerate(steps, start=1))


def _parser() -> argparse.ArgumentParser:
    parser = entry.options(__doc__ or "", "jupyterhub", 6 * 3600)
    add = parser.add_argument
    add("--hub", help="the hub's URL (or the environment's JUPYTERHUB_URL)")
    add("--server", default="", help="a named server (else the user's default one)")
    add("--kernel", default="python3", help="kernelspec to run in (python3)")
    add("--option", action="append", default=[], metavar="KEY=VALUE", help="the spawner's form")
    add("--keep-server", action="store_true", help="leave the server running at the end")
    return parser
