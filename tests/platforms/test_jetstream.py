"""OpenStack's real SDK against a stand-in cloud: whatever happens, no server is left behind."""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mnist_gpu.errors import UserError
from mnist_gpu.launch import jetstream
from mnist_gpu.launch.entry import Deadline
from mnist_gpu.records.store import read_record
from tests.platforms.conftest import CHECKOUT
from tests.platforms.openstack_api import (
    LAUNCH,
    OPTIONS,
    SECRET,
    OpenStack,
    bootstrap_of,
    result_line,
)

pytest.importorskip("openstack")


def test_a_record_comes_home_over_the_console_and_the_server_is_deleted(
    launch: Callable, cloud: OpenStack, tmp_path: Path
) -> None:
    cloud.says = lambda tag: f"[   12.3] boot\n{result_line(tag)}\n[  99.9] reboot: Power down\n"
    done = launch(LAUNCH, *OPTIONS, "seed=3", **cloud.environment())
    assert done.returncode == 0, done.stderr
    [path] = (tmp_path / "outputs" / "jetstream").glob("*/record.json")
    assert read_record(path).platform.name == "jetstream"
    [created] = cloud.created
    assert created["flavorRef"] == "flavors-id"
    assert created["metadata"]["mnist_gpu_flavor"] == "g3.xl"
    assert created["config_drive"] is True
    assert "seed=3" in bootstrap_of(created)
    assert "platform.price.amount_per_hour=64" in bootstrap_of(created)
    assert SECRET not in done.stdout + done.stderr + bootstrap_of(created)
    assert not cloud.servers


class Forgetful(jetstream.Cloud):
    """A server whose console holds the newest result alone."""

    def __init__(self, *shown: str) -> None:
        self.shown = iter(shown)

    def state(self, _: str) -> tuple[str, str]:
        return "ACTIVE", ""

    def console(self, _: str) -> str:
        return next(self.shown)


def test_each_of_two_runs_comes_home_although_the_console_forgets_the_first() -> None:
    of_run = '"engine": "{}", "last": {}, "status"'
    lines = [
        result_line("t", seed=seed).replace('"status"', of_run.format(engine, last), 1)
        for seed, (engine, last) in enumerate((("lightning", "false"), ("own", "true")))
    ]
    cloud, deadline = Forgetful("boot", *lines), Deadline(600, lambda: 0.0, lambda _: None)
    results = jetstream._wait(cloud, "id", "t", deadline, 1)
    assert [result.record["workload"]["seed"] for result in results.values()] == [0, 1]


class Slow(jetstream.Cloud):
    """Each call takes longer than there is time, and comes to nothing."""

    def __init__(self) -> None:
        self._sdk = self.compute = self
        self.clock_s = 0.0

    def deadline(self) -> Deadline:
        return Deadline(600, lambda: self.clock_s, lambda _: None)

    def delete_server(self, *_: object, **__: object) -> None:
        self.clock_s += 601

    def state(self, _: str) -> tuple[str, str]:
        return "ACTIVE", ""

    def named(self, _: str) -> None:
        self.clock_s += 601


def test_a_server_that_could_not_be_deleted_in_time_is_named_with_what_to_do() -> None:
    cloud = Slow()
    with pytest.raises(UserError, match="BURNS CREDITS: run `openstack server delete id-1`"):
        cloud.delete("id-1", cloud.deadline())


def test_a_server_that_was_perhaps_made_is_spoken_of_once_the_time_is_up() -> None:
    cloud = Slow()
    with pytest.raises(UserError, match="MAY BE THERE AND BURN CREDITS: run `openstack server l"):
        jetstream._find(cloud, "t", cloud.deadline())


def test_the_engines_asked_for_reach_the_server(launch: Callable, cloud: OpenStack) -> None:
    cloud.says = result_line
    done = launch(LAUNCH, *OPTIONS, "--engines", "lightning,torch", **cloud.environment())
    assert done.returncode == 0, done.stderr
    assert "lightning,torch" in bootstrap_of(cloud.created[0])


def test_a_result_that_the_kernel_wrote_into_is_read_from_its_repetition(
    launch: Callable, cloud: OpenStack
) -> None:
    def console(tag: str) -> str:
        whole = result_line(tag)
        return f"{whole}\n{whole[:900]}[   77.7] usb 1-1: reset\n{whole[900:]}\n"

    cloud.says = console
    done = launch(LAUNCH, *OPTIONS, **cloud.environment())
    assert done.returncode == 0, done.stderr


def test_a_record_changed_on_the_way_is_not_believed(launch: Callable, cloud: OpenStack) -> None:
    cloud.says = lambda tag: result_line(tag).replace("0.9912", "0.9999")
    done = launch(LAUNCH, *OPTIONS, **cloud.environment())
    assert done.returncode == 1
    assert "ended without a result line" in done.stderr
    assert not cloud.servers


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        ({"quota": True}, "Quota exceeded for cores"),
        ({"boot_error": True}, "the server failed to boot: No valid host was found"),
        ({"lose_reply": True}, "gateway timeout"),
    ],
)
def test_no_failure_leaves_a_server_behind(
    launch: Callable, cloud: OpenStack, trouble: dict, message: str
) -> None:
    for name, value in trouble.items():
        setattr(cloud, name, value)
    done = launch(LAUNCH, *OPTIONS, **cloud.environment())
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not cloud.servers


def test_a_server_that_never_answers_is_deleted_at_the_deadline(
    launch: Callable, cloud: OpenStack
) -> None:
    done = launch(LAUNCH, *OPTIONS, "--timeout", "1", **cloud.environment())
    assert done.returncode == 1
    assert done.stderr.startswith("error: timeout: the run took more than 1 s")
    assert cloud.deleted == ["server-1"]


def test_a_deletion_that_fails_is_asked_for_again(launch: Callable, cloud: OpenStack) -> None:
    cloud.says, cloud.refuse_deletions = result_line, 1
    done = launch(LAUNCH, *OPTIONS, **cloud.environment())
    assert done.returncode == 0, done.stderr
    assert not cloud.servers


def test_a_server_that_cannot_be_deleted_is_shouted_about(
    launch: Callable, cloud: OpenStack
) -> None:
    cloud.says, cloud.refuse_deletions = result_line, 10_000
    done = launch(LAUNCH, *OPTIONS, "--delete-timeout", "1", **cloud.environment())
    assert done.returncode == 1
    assert "BURNS CREDITS" in done.stderr
    assert "openstack server delete server-1" in done.stderr


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_being_stopped_deletes_the_server(cloud: OpenStack, signum: int, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "mnist_gpu.launch", LAUNCH, *OPTIONS],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), **cloud.environment()},
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not any(server["status"] == "ACTIVE" for server in list(cloud.servers.values())):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signum)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert not cloud.servers


def test_a_crash_of_the_launcher_deletes_the_server() -> None:
    class Crashing:
        deleted = False

        def resolve(self, *_: str) -> dict:
            return {}

        def create(self, *_: object) -> str:
            return "one"

        def state(self, _: str) -> tuple[str, str]:
            raise ZeroDivisionError

        def delete(self, *_: object) -> None:
            self.deleted = True

    crashing = Crashing()
    chosen = argparse.Namespace(
        flavor="f", image="i", network="n", timeout=9, poll=1, delete_timeout=9
    )
    with pytest.raises(ZeroDivisionError):
        jetstream.bench(crashing, chosen, "tag", "")
    assert crashing.deleted


def test_servers_left_behind_by_a_killed_launcher_are_found_and_deleted(
    launch: Callable, cloud: OpenStack
) -> None:
    ours = {"id": "a", "name": "mnist-gpu-bench-1", "status": "SHUTOFF", "console": "", "tag": ""}
    cloud.servers["a"] = {**ours, "metadata": {"mnist_gpu": "benchmark"}}
    cloud.servers["b"] = {**ours, "id": "b", "name": "my-mnist-gpu-bench", "metadata": {}}
    done = launch(LAUNCH, "--delete-left-behind", **cloud.environment())
    assert done.returncode == 0, done.stderr
    assert list(cloud.servers) == ["b"]


def test_the_bootstrap_in_the_user_data_runs(
    launch: Callable, cloud: OpenStack, tmp_path: Path, mnist_dir: Path
) -> None:
    """What cloud-init would write is run here as it would run there; the server is a stand-in."""

    def boot(_: str) -> str:
        script, console = tmp_path / "bootstrap.py", tmp_path / "console"
        text = bootstrap_of(cloud.created[0]).replace("/dev/console", str(console))
        script.write_text(text.replace(jetstream.FOLDER, str(tmp_path / "opt")))
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "MNIST_GPU_DATA": str(mnist_dir)}
        subprocess.run(
            [sys.executable, str(script)], env=environment, capture_output=True, check=False
        )
        return console.read_text()

    cloud.says = boot
    quick = ["platform.accelerator=cpu", "model=mlp", "epochs=1", "logger=none"]
    done = launch(LAUNCH, *OPTIONS, *quick, **cloud.environment())
    assert done.returncode == 0, done.stdout + done.stderr
    [path] = (tmp_path / "outputs" / "jetstream").glob("*/record.json")
    record = read_record(path)
    assert record.platform.claimed == "jetstream"
    assert record.price.unit == "SU"
