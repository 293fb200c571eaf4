"""Where the data comes from, and everything that is refused before training."""

import gzip
import hashlib
import struct
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from mnist_gpu import data
from mnist_gpu.data import idx, mnist, synthetic
from mnist_gpu.errors import UserError
from mnist_gpu.protocol.network import Network, initial_weights
from mnist_gpu.protocol.streams import epoch_order, raw_bits

MNIST_SHA256 = "b2d8f5bf39174ee5ffeefa97e42d673c35432b411bb5d1f74fbbeddae7f1690a"
TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = mnist.PUBLISHED_SHA256


def config(**changes):
    plain = {"source": "mnist", "dir": None, "download": False, "cache_dir": None, "custom": False}
    return {**plain, **changes}


def idx_bytes(array: np.ndarray) -> bytes:
    return idx.header(array) + array.tobytes()


@pytest.fixture
def small(tmp_path):
    """A valid set of 128 and 64 digits that is not the published one."""
    rng = np.random.default_rng(0)
    for part, n in (("train", 128), ("t10k", 64)):
        images = rng.integers(0, 256, (n, 28, 28)).astype(np.uint8)
        labels = rng.integers(0, 10, n).astype(np.uint8)
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(idx_bytes(images))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    return tmp_path


def refusal(folder, custom: bool = True) -> str:
    with pytest.raises(UserError) as refused:
        data.load(config(dir=str(folder), custom=custom))
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_the_published_files_are_recognised(mnist_dir):
    found = data.load(config(dir=str(mnist_dir)))
    assert found.name == "mnist"
    assert found.train_images.shape == (60_000, 28, 28)
    assert found.test_labels.shape == (10_000,)
    assert found.sha256 == MNIST_SHA256


@pytest.mark.parametrize(
    "layout",
    [
        "{name}",
        "{name}.gz",
        "MNIST/raw/{name}",
        "{dotted}",
        "{name}/{name}",
        "{dotted}/{dotted}",
        "{name}.gz/{name}",
    ],
)
def test_every_layout_gives_the_same_set(published, zipped, tmp_path, layout):
    for name, content in published.items():
        path = tmp_path / layout.format(name=name, dotted=name.replace("-idx", ".idx"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(zipped.get(path.name, content))
    assert data.load(config(dir=str(tmp_path))).sha256 == MNIST_SHA256


def test_a_good_gz_serves_where_the_plain_file_beside_it_is_cut(published, zipped, tmp_path):
    for name, content in published.items():
        (tmp_path / name).write_bytes(content[:-1])
        (tmp_path / f"{name}.gz").write_bytes(zipped[f"{name}.gz"])
    assert data.load(config(dir=str(tmp_path))).sha256 == MNIST_SHA256


def test_the_folder_may_come_from_the_environment(mnist_dir, monkeypatch):
    monkeypatch.setenv("MNIST_GPU_DATA", str(mnist_dir))
    assert data.load(config()).name == "mnist"


def test_another_set_is_used_only_as_custom(small):
    assert data.load(config(dir=str(small), custom=True)).name == "custom"
    line = refusal(small, custom=False)
    assert TRAIN_IMAGES in line
    assert "data.custom=true" in line


@pytest.mark.parametrize("name", list(mnist.PUBLISHED_SHA256))
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (lambda content: content[:-1], "truncated"),
        (lambda content: content[:6], "truncated"),
        (lambda content: content + b"x", "too long"),
        (lambda content: b"", "empty"),
        (lambda content: b"<html>not found</html>", "not an IDX file"),
        (lambda content: gzip.compress(content)[:-9], "truncated"),
        (lambda content: gzip.compress(content)[:20] + b"xxxxxxxx", "damaged"),
    ],
)
def test_a_damaged_file_is_refused_by_name(small, name, fault, reason):
    path = small / name
    path.write_bytes(fault(path.read_bytes()))
    line = refusal(small)
    assert name in line
    assert reason in line


def test_a_flipped_bit_in_the_published_files_is_refused_by_name(published, tmp_path):
    for name, content in published.items():
        broken = bytearray(content)
        broken[5000] ^= name == TEST_IMAGES
        (tmp_path / name).write_bytes(broken)
    assert f"{TEST_IMAGES}: not the published" in refusal(tmp_path, custom=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(published)


def test_swapped_files_are_refused(small):
    images, labels = small / TRAIN_IMAGES, small / TRAIN_LABELS
    images.rename(small / "x")
    labels.rename(images)
    (small / "x").rename(labels)
    assert "swapped" in refusal(small)


def test_images_and_labels_of_different_number_are_refused(small):
    (small / TRAIN_LABELS).write_bytes((small / TEST_LABELS).read_bytes())
    assert "128 images but 64 labels" in refusal(small)


def test_a_label_above_nine_is_refused(small):
    content = bytearray((small / TEST_LABELS).read_bytes())
    content[-1] = 10
    (small / TEST_LABELS).write_bytes(content)
    assert "a label is 10" in refusal(small)


def test_a_missing_file_and_a_missing_folder_are_refused_by_name(small, tmp_path):
    (small / TEST_LABELS).unlink()
    assert f"{TEST_LABELS}(.gz) is missing" in refusal(small)
    assert "no such folder" in refusal(tmp_path / "nowhere")


LYING_THERE = {
    "Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    "an HTML page": b"\n<!DOCTYPE html><html></html>",
    "an XML document": b"<?xml version='1.0'?><Error/>",
    "a CSV table": b"label,1x1,1x2\n5,0,0\n",
    "a Parquet table": b"PAR1\x15\x04",
    "JSON": b'{"a": 1}',
    "a zip archive": b"PK\x03\x04\x14",
    "pickle": b"\x80\x04\x95",
    "a tar archive": bytes(257) + b"ustar",
    "begins 'hello'": b"hello",
    "something unknown (it begins 89aa01ff)": b"\x89\xaa\x01\xff",
}


@pytest.mark.parametrize("what", list(LYING_THERE))
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_what_lies_there_instead_is_said(small, what, pack):
    (small / TRAIN_IMAGES).write_bytes(pack(LYING_THERE[what]))
    assert what in refusal(small)


def test_a_folder_of_something_else_is_said_to_hold_that(tmp_path):
    (tmp_path / "mnist_train.csv").write_bytes(LYING_THERE["a CSV table"])
    (tmp_path / "train.parquet").write_bytes(LYING_THERE["a Parquet table"])
    line = refusal(tmp_path)
    assert "mnist_train.csv (a CSV table), train.parquet (a Parquet table)" in line
    assert "mnist.npz" in line
    assert "a file, not a folder" in refusal(tmp_path / "mnist_train.csv")


def test_the_archive_of_keras_gives_the_same_set_by_its_known_digest(
    published, tmp_path, monkeypatch
):
    arrays = [idx.read(path, *how).array for path, how in written(published, tmp_path / "idx")]
    archive = tmp_path / "mnist.npz"
    np.savez(archive, **dict(zip(("x_train", "y_train", "x_test", "y_test"), arrays, strict=True)))
    monkeypatch.setattr(mnist, "KERAS_MOST_BYTES", 60_000_000)
    assert "not the mnist.npz that Keras publishes" in refusal(tmp_path)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    monkeypatch.setattr(mnist, "KERAS_SHA256", digest)
    assert data.load(config(dir=str(tmp_path))).sha256 == MNIST_SHA256
    assert data.load(config(dir=str(archive))).sha256 == MNIST_SHA256


def written(published, folder):
    folder.mkdir()
    for name, content in published.items():
        (folder / name).write_bytes(content)
        yield folder / name, (mnist.item_shape(name), len(content))


def peak_bytes(action) -> int:
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("custom", [False, True])
@pytest.mark.parametrize("claim", [10_000, 999_999_000])
def test_memory_grows_with_what_a_file_holds_not_with_what_it_claims_or_unpacks_to(
    small, custom, claim
):
    start = struct.pack(">HBBI", 0, 8, 1, claim)
    (small / TRAIN_LABELS).write_bytes(start + bytes(4500))
    assert peak_bytes(lambda: refusal(small, custom)) < 3_000_000
    (small / TRAIN_LABELS).write_bytes(gzip.compress(start + bytes(50_000_000 + claim % 2)))
    if claim == 10_000:
        assert peak_bytes(lambda: refusal(small, custom)) < 3_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's memory")
def test_out_of_memory_is_called_that(mnist_dir):
    code = """if True:
        import resource, sys
        import numpy
        from pathlib import Path
        from mnist_gpu import data
        from mnist_gpu.data import fetch, mnist
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + 30_000_000
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        data.load({"source": "mnist", "dir": sys.argv[1]})
    """
    ran = subprocess.run(
        [sys.executable, "-c", code, str(mnist_dir)], capture_output=True, text=True, check=False
    )
    assert "UserError: out of memory while reading the data set" in ran.stderr


def test_a_home_folder_is_expanded_and_one_that_is_not_known_is_said(small, monkeypatch):
    home = small / "a=b, ü"
    (home / "x").mkdir(parents=True)
    for path in list(small.glob("*-ubyte")):
        path.rename(home / "x" / path.name)
    monkeypatch.setenv("HOME", str(home))
    assert data.load(config(dir="~/x", custom=True)).name == "custom"
    monkeypatch.setenv("MNIST_GPU_DATA", "~/x")
    assert data.load(config(custom=True)).name == "custom"
    assert "data.dir=~nobody-of-this-name/x: whose home" in refusal("~nobody-of-this-name/x")


def test_random_damage_never_gives_a_traceback_or_a_wrong_set(small):
    rng = np.random.default_rng(1)
    whole = data.load(config(dir=str(small), custom=True))
    for _ in range(300):
        path = small / rng.choice(list(mnist.PUBLISHED_SHA256))
        content = path.read_bytes()
        broken = bytearray(content)
        for position in rng.integers(0, min(len(content), 40), 2):
            broken[position] = rng.integers(256)
        path.write_bytes(bytes(broken[: rng.integers(1, len(broken) + 1)]))
        try:
            found = data.load(config(dir=str(small), custom=True))
        except UserError as refused:
            assert "\n" not in str(refused)
        else:
            changed = path.read_bytes() != content
            assert (found.sha256 != whole.sha256) == changed
        path.write_bytes(content)


def test_auto_falls_back_to_drawn_digits_and_says_so_loudly(tmp_path, monkeypatch):
    monkeypatch.delenv("MNIST_GPU_DATA", raising=False)
    said: list[str] = []
    found = data.load(config(source="auto", cache_dir=str(tmp_path)), announce=said.append)
    assert found.name == "synthetic"
    assert any(line.startswith("NO MNIST") for line in said)


def test_auto_never_hides_a_damaged_set(small):
    with pytest.raises(UserError, match="not the published"):
        data.load(config(source="auto", dir=str(small)))


def test_the_drawn_digits_are_the_same_everywhere():
    drawn = data.load(config(source="synthetic"), announce=lambda line: None)
    assert drawn.sha256 == "3100f6fd068e06d61fe28eea901f30a7c3bd61b6bc41c956a711ebd3f86379c0"
    assert drawn.train_images.shape == (60_000, 28, 28)
    assert drawn.test_images.dtype == np.uint8
    assert np.bincount(drawn.train_labels).min() > 5_500


def test_drawing_fewer_digits_or_another_seed_gives_others_of_the_same_kind():
    few, others = synthetic.draw(0, 640, 64), synthetic.draw(1, 640, 64)
    assert few.train_images.shape == (640, 28, 28)
    assert not np.array_equal(few.train_images, others.train_images)
    assert 0.05 < few.train_images.mean() / 255 < 0.3


def test_the_batch_order_visits_every_image_once_and_differs_by_epoch_and_seed():
    first = epoch_order(0, 1, 60_000)
    assert sorted(first) == list(range(60_000))
    assert not np.array_equal(first, epoch_order(0, 2, 60_000))
    assert not np.array_equal(first, epoch_order(1, 1, 60_000))


def test_the_random_streams_are_the_published_ones():
    assert list(epoch_order(0, 1, 60_000)[:5]) == [38288, 56706, 35197, 44133, 57187]
    assert list(raw_bits("order", 0, 1, 2)) == ORDER_WORDS
    layers = [{"kind": "flatten"}, {"kind": "linear", "name": "fc", "units": 10}]
    weights = initial_weights(Network.from_config("one", layers), 0)
    assert weights["fc.weight"].ravel()[:2].tolist() == FIRST_WEIGHTS
    assert abs(weights["fc.weight"]).max() <= 1 / 28


ORDER_WORDS = [4137171831953800296, 7019320290202917884]
FIRST_WEIGHTS = [-0.006431980524212122, 0.010441525839269161]
