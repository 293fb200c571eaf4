"""The cache of compiled kernels holds code: what others could have put there is never loaded."""

import os
import shutil
import sys
from pathlib import Path

import pytest
import torch  # noqa: F401 - kernels share the threads that it has loaded

from mnist_gpu.engines.torch.kernels import compiler

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("gcc"),
    reason="gcc compiles kernels, on Linux",
)
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="files of other users are made by root")
STRANGER = 54321


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source" / "answer.c"
    path.parent.mkdir()
    path.write_text("int answer(void) { return ANSWER; }\n")
    return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where kernels are kept; its parents are there, it is not."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "mnist_gpu" / "kernels"


def answer(source: Path, value: int = 42) -> int:
    return compiler.load(source, {"ANSWER": value}).answer()


def planted(source: Path, cache: Path) -> Path:
    """An attacker's library under the very name that is looked for."""
    assert answer(source) == 42
    [kept] = cache.iterdir()
    evil = source.with_name("evil.so")
    compiler._run(["gcc", "-shared", "-fPIC", "-DANSWER=666", str(source), "-o", str(evil)])
    kept.unlink()
    shutil.copy(evil, kept)
    return kept


def test_the_folder_is_this_users_alone_and_a_kernel_in_it_is_found_again(
    source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = os.umask(0o002)
    try:
        assert answer(source) == 42
    finally:
        os.umask(before)
    assert cache.stat().st_mode & 0o777 == 0o700
    assert cache.parent.stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(compiler, "_compile", lambda *_: pytest.fail("compiled again"))
    assert answer(source) == 42


@pytest.mark.parametrize("name", ["a b", "it's", 'a"b', "a=b,c", "ü%20", "a;b #c"])
def test_a_cache_of_any_name_is_used(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
    odd = shutil.copytree(source.parent, tmp_path / name / "source") / source.name
    assert answer(odd) == 42
    assert len([*(tmp_path / name / "mnist_gpu" / "kernels").iterdir()]) == 1


def test_a_relative_cache_is_no_library_path(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # which the XDG base directory specification says to ignore
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert answer(source) == 42
    assert answer(source) == 42
    assert not (tmp_path / "relative").exists()
    assert len([*(tmp_path / ".cache" / "mnist_gpu" / "kernels").iterdir()]) == 1


def test_two_kernels_are_two_libraries(source: Path, cache: Path) -> None:
    assert [answer(source, value) for value in (1, 2, 3, 2, 1)] == [1, 2, 3, 2, 1]
    assert len([*cache.iterdir()]) == 3


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
def test_a_folder_that_others_may_write_is_not_used(source: Path, cache: Path, mode: int) -> None:
    planted(source, cache)
    cache.chmod(mode)
    assert answer(source) == 42


def test_a_folder_above_it_that_others_may_write_is_not_used(source: Path, cache: Path) -> None:
    planted(source, cache)
    cache.parent.chmod(0o777)
    assert answer(source) == 42


def test_below_a_folder_like_tmp_it_is_used(source: Path, cache: Path) -> None:
    assert answer(source) == 42
    cache.parents[1].chmod(0o1777)
    [kept] = cache.iterdir()
    inode = kept.stat().st_ino
    assert answer(source) == 42
    assert [path.stat().st_ino for path in cache.iterdir()] == [inode]


@needs_root
def test_a_file_or_folder_of_another_user_is_not_used(source: Path, cache: Path) -> None:
    kept = planted(source, cache)
    os.chown(kept, STRANGER, STRANGER)
    assert answer(source) == 42
    planted(source, cache)
    os.chown(cache, STRANGER, STRANGER)
    assert answer(source) == 42


@needs_root
def test_a_link_of_another_user_is_not_followed(source: Path, cache: Path, tmp_path: Path) -> None:
    planted(source, cache)
    elsewhere = tmp_path / "elsewhere"
    cache.parent.rename(elsewhere)
    cache.parent.symlink_to(elsewhere)
    os.chown(cache.parent, STRANGER, STRANGER, follow_symlinks=False)
    assert answer(source) == 42


def test_a_kept_name_that_is_a_link_is_not_followed(source: Path, cache: Path) -> None:
    kept = planted(source, cache)
    target = kept.rename(source.with_name("elsewhere.so"))
    kept.symlink_to(target)
    assert answer(source) == 42
    assert not kept.is_symlink()


def test_without_any_cache_a_kernel_is_compiled_all_the_same(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert answer(source) == 42
