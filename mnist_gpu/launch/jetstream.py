"""Run the benchmark on a new Jetstream2 server: create, wait, read the record, delete.

The server is deleted whatever happens: on success, a failed boot, Ctrl-C, a crash, the deadline.
Credentials come from `OS_*` (`source app-cred-openrc.sh`) or clouds.yaml and are never printed.
"""

import argparse

from mnist_gpu.errors import UserError
from mnist_gpu.launch import cloud_init, entry, marked, payload
from mnist_gpu.launch.ending import ctrl_c_ignored, signals_as_ctrl_c
from mnist_gpu.launch.openstack_cloud import MARK, NAME, NETWORK, Cloud, print_call
from mnist_gpu.paths import conf_dir

POLL_S = 20
DELETE_S = 600
# a server whose creation was not confirmed is looked for more than once
LOOKS = 3
LOOK_S = 2.0
# cloud-init ends the run, then the server, before the launcher's own deadline does
CLOSING_S = 120


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
    tag = payload.new_tag()
    seconds = max(60, chosen.timeout - CLOSING_S)
    # a dry run shows it, packed, where no secret would be seen to be one
    source = entry.without_secrets(chosen.source) if chosen.dry_run else chosen.source
    user_data = cloud_init.user_data(
        source, chosen.overrides, tag, seconds, chosen.pip_index, chosen.engines
    )
    if chosen.dry_run:
        print(entry.without_secrets(_plan(chosen, user_data, rate)))
        return 0
    with signals_as_ctrl_c():
        results = bench(Cloud(), chosen, tag, user_data)
    return marked.keep(results, "jetstream", chosen.out)


def bench(
    cloud: Cloud, chosen: argparse.Namespace, tag: str, user_data: str
) -> dict[str, marked.Result]:
    """Create a server, wait for its results by engine, delete the server.

    Raises:
        UserError: it could not be created, failed to boot, was too late, or could not be deleted.
    """
    server = None
    deadline = entry.Deadline(chosen.timeout)
    ids = cloud.resolve(chosen.flavor, chosen.image, chosen.network)
    try:
        server = cloud.create(tag, ids, chosen.flavor, user_data)
        print(f"server {NAME}-{tag} ({server}) on {chosen.flavor}", flush=True)
        return _wait(cloud, server, tag, deadline, chosen.poll)
    finally:
        with ctrl_c_ignored():
            _remove(cloud, server, tag, chosen.delete_timeout)


def _remove(cloud: Cloud, server: str | None, tag: str, seconds: float) -> None:
    """Delete the server; where the reply to its creation was lost, look for it by name."""
    deadline = entry.Deadline(seconds)
    looks = 0
    while server is None and looks < LOOKS:
        try:
            server = cloud.named(tag)
            looks += 1
        except UserError as fault:
            if deadline.left_s() <= 0:
                raise UserError(
                    f"a server named {NAME}-{tag} MAY BE THERE AND BURN CREDITS ({fault}):"
                    " run `openstack server list`"
                ) from None
        if server is None and looks < LOOKS:
            deadline.pause(LOOK_S, "looking for the server")
    if server:
        cloud.delete(server, deadline)
        print(f"server {NAME}-{tag} deleted", flush=True)


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
    import yaml

    path = conf_dir() / "platform" / "jetstream.yaml"
    return dict(yaml.safe_load(path.read_text(encoding="utf-8"))["flavors"])


def _sweep() -> int:
    cloud = Cloud()
    servers = cloud.left_behind()
    for server, name in servers:
        cloud.delete(server, entry.Deadline(DELETE_S))
        print(f"deleted {name} ({server})")
    print(f"{len(servers)} server(s) were left behind")
    return 0


def _plan(chosen: argparse.Namespace, user_data: str, rate: float | None) -> str:
    hours = (chosen.timeout + chosen.delete_timeout) / 3600
    ceiling = f"{rate * hours:.1f} SU" if rate else f"unknown: no rate for {chosen.flavor}"
    calls = [
        print_call("authorize", credentials="OS_* or clouds.yaml"),
        print_call("find_flavor", name=chosen.flavor),
        print_call("find_image", name=chosen.image),
        print_call("find_network", name=chosen.network)
        + (" or else get_auto_allocated_topology()" if chosen.network == NETWORK else ""),
        print_call("create_server", name=f"{NAME}-TAG", metadata=MARK, config_drive=True),
        print_call("find_server + get_server_console_output", every_s=chosen.poll),
        print_call("delete_server", until_gone_s=chosen.delete_timeout),
    ]
    numbered = "\n".join(f"{number}. {call}" for number, call in enumerate(calls, start=1))
    return (
        f"{numbered}\nrun there: mnist_gpu.train {' '.join(chosen.overrides)}, of {chosen.source}"
        f"\nengines: {chosen.engines}"
        f"\ncost ceiling: {ceiling} ({hours:.2f} h at {rate} SU/h)"
        f"\nuser data ({len(user_data)} bytes):\n{user_data}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = entry.options(__doc__ or "", "jetstream", 2 * 3600)
    add = parser.add_argument
    add("--flavor", default="g3.xl", help="the server's size by name (g3.xl: one whole A100)")
    add("--image", default="Featured-Ubuntu24", help="by name (Featured-Ubuntu24)")
    add("--network", default=NETWORK, help=f"by name ({NETWORK}, made if it is not there)")
    add(
        "--pip-index",
        default="",
        help="the index to take torch from, such as PyTorch's for CUDA 12",
    )
    add("--poll", type=float, default=POLL_S, help=f"seconds between questions ({POLL_S})")
    add("--delete-timeout", type=float, default=DELETE_S, help="seconds to insist on deletion")
    add("--delete-left-behind", action="store_true", help="delete every benchmark server there is")
    return parser
