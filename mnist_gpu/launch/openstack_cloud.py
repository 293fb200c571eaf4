"""The few calls to OpenStack that one benchmark needs, through OpenStack's own SDK.

Source: https://docs.openstack.org/openstacksdk/latest/user/proxies/compute.html
"""

import base64
import contextlib
from collections.abc import Iterator
from typing import Any

from mnist_gpu.errors import UserError
from mnist_gpu.launch.entry import Deadline, without_secrets

NAME = "mnist-gpu-bench"
MARK = {"mnist_gpu": "benchmark"}
# what OpenStack names the network that it makes for a project on request
NETWORK = "auto_allocated_network"
# an image of 7 GB, 5.6 GB of packages, and 3 GB of wheels while those are unpacked
LEAST_DISK_GB = 16


class Cloud:
    """A project in an OpenStack cloud; credentials from `OS_*` or clouds.yaml."""

    def __init__(self) -> None:
        try:
            import openstack
        except ImportError:
            missing = "openstacksdk is missing: scripts/jetstream/launch.py brings it"
            raise UserError(missing) from None
        with _explained("authentication"):
            self._sdk = openstack.connect(app_name="mnist-gpu")
            self._sdk.authorize()

    def resolve(self, flavor: str, image: str, network: str) -> dict[str, str]:
        """The ids of what a server is made of, by name.

        A project in which no server was made yet has no network: OpenStack is asked to make one.

        Raises:
            UserError: this project has none of that name, or the flavor's disk is too small.
        """
        names = {"flavor": flavor, "image": image, "network": network}
        with _explained("flavor, image and network"):
            found: dict[str, Any] = {
                "flavor": self._sdk.compute.find_flavor(flavor),
                "image": self._sdk.image.find_image(image),
                "network": self._sdk.network.find_network(network),
            }
            if found["network"] is None and network == NETWORK:
                found["network"] = self._sdk.network.get_auto_allocated_topology()
        for kind, resource in found.items():
            if resource is None:
                raise UserError(f"--{kind} {names[kind]}: this project has none of that name")
        # 0: the flavor leaves it to the image
        disk_gb = found["flavor"].disk or 0
        if 0 < disk_gb < LEAST_DISK_GB:
            raise UserError(
                f"--flavor {flavor}: its disk of {disk_gb} GB is too small; the system and PyTorch"
                f" need {LEAST_DISK_GB} GB"
            )
        return {kind: str(resource.id) for kind, resource in found.items()}

    def create(self, tag: str, ids: dict[str, str], flavor: str, user_data: str) -> str:
        """Ask for a server, whose name the tag makes unique, so that it can be found if the reply
        is lost; returns its id. The ids are those of `resolve`, the user data for cloud-init."""
        metadata = {**MARK, "mnist_gpu_flavor": flavor}
        if "jetstream-cloud.org" in str(self._sdk.config.auth.get("auth_url", "")):
            metadata["mnist_gpu_cloud"] = "jetstream2"
        with _explained("creating the server"):
            server = self._sdk.compute.create_server(
                name=f"{NAME}-{tag}",
                flavor_id=ids["flavor"],
                image_id=ids["image"],
                networks=[{"uuid": ids["network"]}],
                user_data=base64.b64encode(user_data.encode()).decode(),
                # user data without asking the network for it
                config_drive=True,
                metadata=metadata,
            )
        return str(server.id)

    def state(self, server: str) -> tuple[str, str]:
        """Its status (BUILD, ACTIVE, SHUTOFF, ERROR, DELETED) and the reason of an error."""
        with _explained("asking for the server"):
            found = self._sdk.compute.find_server(server)
        if found is None:
            return "DELETED", ""
        return str(found.status), str((found.fault or {}).get("message", ""))

    def console(self, server: str) -> str:
        """What it wrote to its console; empty while it has none."""
        with contextlib.suppress(UserError), _explained("reading the console"):
            reply = self._sdk.compute.get_server_console_output(server)
            return str(reply.get("output", "") if isinstance(reply, dict) else reply or "")
        return ""

    def named(self, tag: str) -> str | None:
        """The id of this launch's server, if the cloud has it."""
        with _explained("looking for the server"):
            servers = self._sdk.compute.servers(details=False, name=f"{NAME}-{tag}")
            return next((str(server.id) for server in servers), None)

    def left_behind(self) -> list[tuple[str, str]]:
        """Id and name of every benchmark server of this project."""
        with _explained("listing servers"):
            servers = self._sdk.compute.servers(name=NAME)
            ours = [server for server in servers if MARK.items() <= (server.metadata or {}).items()]
            return [(str(server.id), str(server.name)) for server in ours]

    def delete(self, server: str, deadline: Deadline) -> None:
        """Delete a server and see it gone; asks again until the deadline.

        Raises:
            UserError: it is still there; the message says how to delete it by hand.
        """
        why = ""
        while deadline.left_s() > 0:
            try:
                with _explained("deleting the server"):
                    self._sdk.compute.delete_server(server, ignore_missing=True)
                if self.state(server)[0] == "DELETED":
                    return
            except UserError as exc:
                why = f" ({exc})"
            deadline.sleep(3)
        raise UserError(
            f"SERVER {server} IS STILL THERE AND BURNS CREDITS{why}:"
            f" run `openstack server delete {server}`"
        )


@contextlib.contextmanager
def _explained(doing: str) -> Iterator[None]:
    """Turn what the SDK raises into one line for a person."""
    from keystoneauth1 import exceptions as keystone
    from openstack import exceptions as sdk

    try:
        yield
    except (keystone.MissingRequiredOptions, sdk.ConfigException):
        raise UserError(
            "no OpenStack credentials: `source app-cred-openrc.sh` (Horizon, Identity,"
            " Application Credentials), or set OS_CLOUD"
        ) from None
    except (keystone.ClientException, sdk.SDKException) as exc:
        why = without_secrets(" ".join(str(exc).split()))[:300]
        # the SDK hands on what Keystone's client raised as text only
        if "HTTP 401" in why:
            why = "the credentials were refused; have they expired?"
        elif why.startswith(("Unable to establish connection", "Failed to discover")):
            why = f"cannot reach the cloud: {why}"
        raise UserError(f"{doing}: {why}") from None
