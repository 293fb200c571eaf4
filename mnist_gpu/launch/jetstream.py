"""Run the benchmark on a new Jetstream2 server: create, wait, read the record, delete.

The server is deleted whatever happens: on success, a failed boot, Ctrl-C, a crash, the deadline.
Credentials come from `OS_*` (`source app-cred-openrc.sh`) or clouds.yaml and are never printed.
"""

import argparse
import base64
import gzip
import json
import signal
from typing import Any

from mnist_gpu.errors import UserError
from mnist_gpu.launch import entry, marked, payload
from mnist_gpu.launch.openstack_cloud import NAME, NETWORK, Cloud
from mnist_gpu.paths import shipped
from mnist_gpu.runs.process import GRACEFUL, handled

POLL_S = 20
DELETE_S = 600
# a server whose creation was not confirmed is looked for more than once
LOOKS = 3
LOOK_S = 2.0
# cloud-init ends the run, then the server, before the launcher's own deadline does
CLOSING_S = 120
FOLDER = "/opt/mnist-gpu"
DRIVER_WAIT_S = 900
# a server with a whole GPU installs its driver during the first boot
WAIT_FOR_DRIVER = (
    "if lspci | grep -qi nvidia; then"
    f" for i in $(seq {DRIVER_WAIT_S // 10}); do nvidia-smi >/dev/null 2>&1 && break; sleep 10;"
    " done; fi"
)


def main(argv: list[str] | None = None) -> int:
    """Command line of `scripts/jetstream/launch.py`."""
    parser = _parser()
    if parser.parse_args(argv).delete_left_behind:
        return _sweep()
    chosen = entry.parse(parser, argv)
    if chosen.bundle:
        raise UserError("--bundle: too large for cloud-init; the server has internet, use --source")
    rate = _rates().get(chosen.flavor)
    if rate is not None and not any("price." in item for item in chosen.overrides):
        chosen.overrides.append(f"platform.price.amount_per_hour={rate}")
    if chosen.dry_run:
        # it is shown packed as well, where no secret would be seen to be one
        chosen.source = entry.without_secrets(chosen.source)
    more = {"pip_index": chosen.pip_index} if chosen.pip_index else {}
    seconds = max(60, chosen.timeout - CLOSING_S)
    text = user_data(payload.settings(chosen, seconds, **more))
    if chosen.dry_run:
        return _show(chosen, text, rate)
    # as Ctrl-C, whatever asks this to end
    with handled(GRACEFUL, signal.default_int_handler):
        results = bench(Cloud(), chosen, chosen.tag, text)
    return marked.keep(results, "jetstream", chosen.out)


def user_data(settings: dict[str, Any]) -> str:
    """The `#cloud-config` text: run the bootstrap, show the result on the console, switch off.

    The server switches itself off soon after the runs' time is up, even when its launcher is gone.
    Schema: https://docs.cloud-init.io/en/latest/reference/modules.html
    """
    places = {"into": FOLDER, "work": f"{FOLDER}/work", "result_to": "/dev/console"}
    # without a time in it, so that the same settings make the same text
    script = gzip.compress(payload.bootstrap(settings | places).encode(), mtime=0)
    file = {
        "path": f"{FOLDER}/bootstrap.py",
        "encoding": "gz+b64",
        "content": base64.b64encode(script).decode(),
        "permissions": "0644",
    }
    config = {
        "package_update": True,
        "packages": ["python3-pip", "python3-venv"],
        "write_files": [file],
        "runcmd": [
            # the last resort, should cloud-init hang
            ["shutdown", "-h", f"+{settings['timeout'] // 60 + 5}"],
            ["sh", "-c", WAIT_FOR_DRIVER],
            ["env", "HOME=/root", "python3", f"{FOLDER}/bootstrap.py"],
        ],
        "power_state": {"mode": "poweroff", "delay": "now", "timeout": 60},
    }
    # JSON is YAML too, and needs no quoting rules
    return "#cloud-config\n" + json.dumps(config, indent=1) + "\n"


def bench(
    cloud: Cloud, chosen: argparse.Namespace, tag: str, user_data: str
) -> dict[str, marked.Result]:
    """Create a server, wait for its results by engine, delete the server.

    Raises:
        UserError: it could not be created, failed to boot, was too late, or could not be deleted.
    """
    server = None
    deadline = entry.Deadline(chosen.timeout, option="--timeout")
    # outside the `try`: until now there is nothing to give back
    ids = cloud.resolve(chosen.flavor, chosen.image, chosen.network)
    try:
        server = cloud.create(tag, ids, chosen.flavor, user_data)
        print(f"server {NAME}-{tag} ({server}) on {chosen.flavor}", flush=True)
        return _wait(cloud, server, tag, deadline, chosen.poll)
    finally:
        # nothing may stop what gives the server back
        with handled(GRACEFUL, signal.SIG_IGN):
            deadline = entry.Deadline(chosen.delete_timeout)
            # the reply to its creation may have been lost
            if server := server or _find(cloud, tag, deadline):
                cloud.delete(server, deadline)
                print(f"server {NAME}-{tag} deleted", flush=True)


def _find(cloud: Cloud, tag: str, deadline: entry.Deadline) -> str | None:
    """The id of a server by its name; looked for again where there is none, or no answer."""
    looks = 0
    while True:
        server, why = None, ""
        try:
            server = cloud.named(tag)
            looks += 1
        except UserError as exc:
            why = f" ({exc})"
        if server or looks == LOOKS:
            return server
        if deadline.left_s() <= 0:
            raise UserError(
                f"a server named {NAME}-{tag} MAY BE THERE AND BURN CREDITS{why}:"
                " run `openstack server list`"
            )
        deadline.sleep(LOOK_S)


def _wait(
    cloud: Cloud, server: str, tag: str, deadline: entry.Deadline, poll_s: float
) -> dict[str, marked.Result]:
    last = ""
    # a console keeps no more than its last lines: what was seen once stays
    results: dict[str, marked.Result] = {}
    while True:
        status, reason = cloud.state(server)
        if status != last:
            print(f"server {status}", flush=True)
        last = status
        if status == "ERROR":
            raise UserError(f"the server failed to boot: {reason or 'no reason given'}")
        if status == "DELETED":
            raise UserError("somebody else deleted the server")
        if status in ("ACTIVE", "SHUTOFF"):
            results |= marked.find_results(cloud.console(server), tag)
            if status == "SHUTOFF" or any(result.last for result in results.values()):
                return results
        deadline.pause(poll_s, "the run")


def _rates() -> dict[str, float]:
    """Service units an hour, by flavor, as `conf/platform/jetstream.yaml` gives them."""
    return dict(shipped("platform/jetstream")["flavors"])


def _sweep() -> int:
    cloud = Cloud()
    servers = cloud.left_behind()
    for server, name in servers:
        cloud.delete(server, entry.Deadline(DELETE_S))
        print(f"deleted {name} ({server})")
    print(f"{len(servers)} server(s) were left behind")
    return 0


def _show(chosen: argparse.Namespace, user_data: str, rate: float | None) -> int:
    hours = (chosen.timeout + chosen.delete_timeout) / 3600
    ceiling = f"{rate * hours:.1f} SU" if rate else f"unknown: no rate for {chosen.flavor}"
    made = " or else get_auto_allocated_topology()" if chosen.network == NETWORK else ""
    return entry.show(
        "authorize(credentials=OS_* or clouds.yaml)",
        f"find_flavor({chosen.flavor}), find_image({chosen.image})",
        f"find_network({chosen.network}){made}",
        f"create_server(name={NAME}-TAG, config_drive=True)",
        entry.run_there(chosen),
        f"find_server + get_server_console_output(every_s={chosen.poll})",
        f"delete_server(until_gone_s={chosen.delete_timeout})",
        after=f"cost ceiling: {ceiling} ({hours:.2f} h at {rate} SU/h)\n"
        f"user data ({len(user_data)} bytes):\n{user_data}",
    )


def _parser() -> argparse.ArgumentParser:
    parser = entry.options(__doc__, "jetstream", 2 * 3600)
    add = parser.add_argument
    add("--flavor", default="g3.xl", help="the server's size by name (g3.xl: one whole A100)")
    add("--image", default="Featured-Ubuntu24", help="by name (Featured-Ubuntu24)")
    add("--network", default=NETWORK, help=f"by name ({NETWORK}, made if it is not there)")
    add("--pip-index", help="the index to take torch from, such as PyTorch's for CUDA 12")
    add("--poll", type=float, default=POLL_S, help=f"seconds between questions ({POLL_S})")
    add("--delete-timeout", type=float, default=DELETE_S, help="seconds to insist on deletion")
    add("--delete-left-behind", action="store_true", help="delete every benchmark server there is")
    return parser
