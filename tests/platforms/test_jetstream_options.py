"""What a launcher asks OpenStack's real SDK for, and what it refuses before anything is created."""

import base64
import gzip
import json
from collections.abc import Callable

import pytest

from mnist_gpu.errors import UserError
from mnist_gpu.launch import jetstream
from tests.platforms.openstack_api import (
    LAUNCH,
    OPTIONS,
    OpenStack,
    result_line,
)

pytest.importorskip("openstack")


def test_wrong_credentials_are_named_and_not_shown(launch: Callable, cloud: OpenStack) -> None:
    environment = {**cloud.environment(), "OS_APPLICATION_CREDENTIAL_SECRET": "wrong-secret-1"}
    done = launch(LAUNCH, *OPTIONS, **environment)
    assert done.returncode == 1
    assert "credentials were refused" in done.stderr
    assert "wrong-secret-1" not in done.stdout + done.stderr


def test_missing_credentials_say_what_to_source(launch: Callable) -> None:
    done = launch(LAUNCH, *OPTIONS)
    assert done.returncode == 1
    assert "source app-cred-openrc.sh" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_dead_network_is_one_line(launch: Callable, cloud: OpenStack) -> None:
    environment = {**cloud.environment(), "OS_AUTH_URL": "http://127.0.0.1:9/v3"}
    done = launch(LAUNCH, *OPTIONS, **environment)
    assert done.returncode == 1
    assert "cannot reach the cloud" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_unknown_flavor_is_refused_before_anything_is_created(
    launch: Callable, cloud: OpenStack
) -> None:
    done = launch(LAUNCH, *OPTIONS, "--flavor", "g9.huge", **cloud.environment())
    assert done.returncode == 1
    assert "--flavor g9.huge" in done.stderr
    assert not cloud.created


def test_a_project_without_a_network_is_given_one(launch: Callable, cloud: OpenStack) -> None:
    cloud.new_project, cloud.says = True, result_line
    done = launch(LAUNCH, *OPTIONS, **cloud.environment())
    assert done.returncode == 0, done.stderr
    assert cloud.created[0]["networks"] == [{"uuid": "made-id"}]


def test_a_network_of_another_name_is_not_made(launch: Callable, cloud: OpenStack) -> None:
    cloud.new_project = True
    done = launch(LAUNCH, *OPTIONS, "--network", "ours", **cloud.environment())
    assert done.returncode == 1
    assert "--network ours: this project has none" in done.stderr
    assert not cloud.created


def test_a_flavor_whose_disk_is_too_small_is_refused(launch: Callable, cloud: OpenStack) -> None:
    cloud.disk_gb = 10
    done = launch(LAUNCH, *OPTIONS, **cloud.environment())
    assert done.returncode == 1
    assert "its disk of 10 GB is too small" in done.stderr
    assert not cloud.created


def test_the_index_for_torch_reaches_the_bootstrap_and_no_token_is_shown(launch: Callable) -> None:
    source = "https://example.org/a.zip?private_token=s3cret-t0ken"
    arguments = ["--source", source, "--pip-index", "https://example.org/cu126", "--dry-run"]
    done = launch(LAUNCH, *arguments)
    assert done.returncode == 0, done.stderr
    text = done.stdout.partition("#cloud-config")[2]
    [entry] = json.loads(text)["write_files"]
    script = gzip.decompress(base64.b64decode(entry["content"])).decode()
    assert '\\"pip_index\\": \\"https://example.org/cu126\\"' in script
    assert "s3cret" not in done.stdout + script


def test_a_dry_run_shows_every_call_and_the_cost_ceiling(
    launch: Callable, cloud: OpenStack
) -> None:
    arguments = [*OPTIONS, "--dry-run", "--timeout", "3000"]
    done = launch(LAUNCH, *arguments)
    assert done.returncode == 0
    for call in ("create_server", "get_server_console_output", "delete_server"):
        assert call in done.stdout
    assert "cost ceiling: 64.0 SU" in done.stdout
    assert not cloud.calls


@pytest.mark.parametrize(("flavor", "rate"), [("m3.3xl", 128), ("r3.large", 128), ("r3.xl", 256)])
def test_the_largest_flavors_without_a_gpu_have_their_rates(
    launch: Callable, flavor: str, rate: int
) -> None:
    # an hour with the time to delete it
    done = launch(LAUNCH, *OPTIONS, "--flavor", flavor, "--dry-run", "--timeout", "3000")
    assert done.returncode == 0, done.stderr
    assert f"cost ceiling: {rate}.0 SU" in done.stdout
    assert f"platform.price.amount_per_hour={rate}" in done.stdout


def test_cloud_init_accepts_the_user_data_and_refuses_a_wrong_one(
    cloud_init_schema: Callable[[str], str],
) -> None:
    text = jetstream.user_data({"tag": "t", "overrides": ["platform=jetstream"], "timeout": 600})
    assert cloud_init_schema(text) == ""
    wrong = text.replace('"gz+b64"', '"zstd"')
    assert "write_files" in cloud_init_schema(wrong)


def test_user_data_fits_what_nova_takes() -> None:
    text = jetstream.user_data({"tag": "t", "overrides": ["a=b"] * 50, "timeout": 600})
    assert len(text) * 4 / 3 < 65535  # base64, bytes: Nova's limit


def test_an_impossible_option_is_refused() -> None:
    with pytest.raises(UserError, match="--timeout 0"):
        jetstream.main([*OPTIONS, "--timeout", "0"])
