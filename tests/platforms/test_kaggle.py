"""Kaggle's real client against a stand-in of its API that really runs the pushed kernel."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from mnist_gpu.records.store import read_record
from tests.platforms.conftest import CHECKOUT
from tests.platforms.kaggle_api import TOKEN, Kaggle

QUICK = ("model=mlp", "epochs=1", "logger=none")
LAUNCH = "kaggle"
pytestmark = pytest.mark.network


@pytest.fixture
def options(kaggle_client: Path) -> list[str]:
    return ["--user", "ada", "--client", str(kaggle_client), "--poll", "0.2"]


def test_a_kernel_without_internet_is_pushed_run_and_its_record_fetched(
    launch: Callable, kaggle: Kaggle, options: list[str], bundle: Path, tmp_path: Path
) -> None:
    done = launch(LAUNCH, *options, "--bundle", str(bundle), *QUICK, **kaggle.environment())
    assert done.returncode == 0, done.stdout + done.stderr + kaggle.log
    [path] = (tmp_path / "outputs" / "kaggle").glob("*/record.json")
    record = read_record(path)
    assert record.status == "completed"
    assert record.platform.claimed == "kaggle"
    assert record.workload.dataset == "mnist"
    assert kaggle.dataset["private"] is True
    sent = kaggle.kernel
    assert sent["enableInternet"] is False
    assert sent["isPrivate"] is True
    assert sent["datasetDataSources"] == ["ada/mnist-gpu-bundle"]
    assert "devices=1" in sent["text"]
    assert TOKEN not in done.stdout + done.stderr + path.read_text() + sent["text"]


def test_the_t4_kernel_asks_for_the_t4_and_for_internet(
    launch: Callable, kaggle: Kaggle, options: list[str]
) -> None:
    kaggle.run_kernel = False
    kaggle.ends_as = "ERROR"
    arguments = ["--accelerator", "t4", "--source", "installed", "--timeout", "100"]
    done = launch(LAUNCH, *options, *arguments, **kaggle.environment())
    assert done.returncode == 1
    assert kaggle.kernel["machineShape"] == "NvidiaTeslaT4"
    assert kaggle.kernel["enableInternet"] is True
    assert kaggle.kernel["sessionTimeoutSeconds"] == 100
    assert "platform=kaggle_t4" in kaggle.kernel["text"]


def test_a_session_that_fails_is_reported_with_its_log(
    launch: Callable, kaggle: Kaggle, options: list[str]
) -> None:
    arguments = ["--source", "installed", "platform=nowhere"]
    done = launch(LAUNCH, *options, *arguments, **kaggle.environment())
    assert done.returncode == 1
    assert "nowhere" in done.stdout
    assert done.stderr.startswith("error: kaggle: the run failed: the run left no record")
    assert "Traceback" not in done.stderr


def test_a_record_of_an_earlier_session_is_not_taken_for_this_one(
    launch: Callable, kaggle: Kaggle, options: list[str]
) -> None:
    kaggle.run_kernel = False
    kaggle.ends_as = "COMPLETE"
    working = kaggle.home / "kaggle" / "working"
    working.mkdir(parents=True)
    (working / "record.json").write_text(json.dumps({"created_at": "2026-01-01T00:00:00Z"}))
    kaggle.log = json.dumps([{"data": 'MNIST_GPU_RESULT {"tag":"old","status":"failed"}\n'}])
    done = launch(LAUNCH, *options, "--source", "installed", **kaggle.environment())
    assert done.returncode == 1
    assert "ended without a result line" in done.stderr


@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        ("Maximum weekly GPU quota of 30.00 hours reached.", "GPU quota"),
        ("Phone verification is required", "Phone verification"),
    ],
)
def test_a_refused_push_is_an_error_although_the_client_exits_with_0(
    launch: Callable, kaggle: Kaggle, options: list[str], refusal: str, message: str
) -> None:
    kaggle.refuse = refusal
    done = launch(LAUNCH, *options, "--source", "installed", **kaggle.environment())
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_credentials_are_named_with_the_cure(
    launch: Callable, kaggle: Kaggle, options: list[str]
) -> None:
    environment = {**kaggle.environment(), "KAGGLE_API_TOKEN": ""}
    done = launch(LAUNCH, *options, "--source", "installed", **environment)
    assert done.returncode == 1
    assert "kaggle auth login" in done.stderr


def test_a_dead_network_is_one_line(launch: Callable, kaggle: Kaggle, options: list[str]) -> None:
    dead = "http://127.0.0.1:9"
    environment = {**kaggle.environment(), "HTTP_PROXY": dead, "http_proxy": dead}
    done = launch(LAUNCH, *options, "--source", "installed", **environment)
    assert done.returncode == 1
    assert done.stderr == "error: kaggle kernels push: cannot reach Kaggle: is there a network?\n"
    assert TOKEN not in done.stdout + done.stderr


def test_a_session_that_never_ends_meets_the_deadline(
    launch: Callable, kaggle: Kaggle, options: list[str]
) -> None:
    kaggle.run_kernel = False
    arguments = ["--source", "installed", "--timeout", "1", "--queue", "1"]
    done = launch(LAUNCH, *options, *arguments, **kaggle.environment())
    assert done.returncode == 1
    assert done.stderr.startswith("error: timeout: the kernel")


def test_a_dry_run_shows_every_step_and_contacts_nobody(
    launch: Callable, kaggle: Kaggle, options: list[str], bundle: Path
) -> None:
    arguments = [*options, "--bundle", str(bundle), "--dry-run"]
    done = launch(LAUNCH, *arguments, **kaggle.environment())
    assert done.returncode == 0
    assert '"enable_internet": false' in done.stdout
    assert "kernels push" in done.stdout
    assert not kaggle.kernel
    assert kaggle.asked == 0


@pytest.mark.parametrize("name", ["kaggle", "kaggle_t4"])
def test_a_price_names_no_source_that_says_nothing_of_prices(name: str) -> None:
    """Kaggle publishes no price list: it is said why nothing is paid, and no page stands in."""
    text = (CHECKOUT / "conf" / "platform" / f"{name}.yaml").read_text(encoding="utf-8")
    platform = yaml.safe_load(text)
    price, limits = platform["price"], platform["limits"]
    assert price["free"] is True
    assert price["amount_per_hour"] is None
    assert price["source"] is None
    assert "free of charge" in price["reason"]
    # what the quotas are taken from is theirs
    assert limits["source"].startswith("https://github.com/Kaggle/")
