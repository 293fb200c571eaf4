"""Where the data comes from, and everything that is refused before training."""

import gzip
import socket
import threading

import numpy as np
import pytest

from mnist_gpu import data
from mnist_gpu.data import idx, mnist, synthetic
from mnist_gpu.errors import UserError
from mnist_gpu.protocol.initial import initial_weights
from mnist_gpu.protocol.network import Network
from mnist_gpu.protocol.streams import epoch_order, raw_bits

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
    assert found.sha256 == "b2d8f5bf39174ee5ffeefa97e42d673c35432b411bb5d1f74fbbeddae7f1690a"


def test_plain_files_in_torchvisions_layout_give_the_same_set(mnist_dir, tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in mnist.PUBLISHED_SHA256:
        (raw / name).write_bytes(gzip.open(mnist_dir / f"{name}.gz").read())
    found = data.load(config(dir=str(tmp_path)))
    assert found.name == "mnist"
    assert found.sha256 == data.load(config(dir=str(mnist_dir))).sha256


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


def test_a_flipped_bit_in_the_published_files_is_refused_by_name(mnist_dir, tmp_path):
    for name in mnist.PUBLISHED_SHA256:
        content = bytearray(gzip.open(mnist_dir / f"{name}.gz").read())
        if name == TEST_IMAGES:
            content[5000] ^= 1
        (tmp_path / name).write_bytes(content)
    assert TEST_IMAGES in refusal(tmp_path, custom=False)


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


def test_without_files_and_network_the_way_out_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("MNIST_GPU_DATA", raising=False)

    def no_network(*_arguments, **_options):
        raise OSError("network is unreachable")

    monkeypatch.setattr(socket, "create_connection", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    with pytest.raises(UserError, match=r"MNIST_GPU_DATA, or use data=synthetic"):
        data.load(config(download=True, cache_dir=str(tmp_path)), announce=lambda line: None)
    assert not list(tmp_path.iterdir())


def test_auto_falls_back_to_drawn_digits_and_says_so_loudly(tmp_path, monkeypatch):
    monkeypatch.delenv("MNIST_GPU_DATA", raising=False)
    said: list[str] = []
    found = data.load(config(source="auto", cache_dir=str(tmp_path)), announce=said.append)
    assert found.name == "synthetic"
    assert any(line.startswith("NO MNIST") for line in said)


def test_auto_never_hides_a_damaged_set(small):
    with pytest.raises(UserError, match="not the published"):
        data.load(config(source="auto", dir=str(small)))


def test_the_drawn_digits_are_the_same_everywhere(tmp_path):
    drawn = synthetic.load(tmp_path, announce=lambda line: None)
    assert drawn.sha256 == synthetic.SHA256
    assert drawn.train_images.shape == (60_000, 28, 28)
    assert drawn.test_images.dtype == np.uint8
    assert np.bincount(drawn.train_labels).min() > 5_500
    kept = next(tmp_path.glob("*.npz"))
    kept.write_bytes(kept.read_bytes()[:-1000])
    assert synthetic.load(tmp_path, announce=lambda line: None).sha256 == synthetic.SHA256


def test_two_runs_that_draw_at_once_both_get_the_whole_set(tmp_path):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(synthetic.load(tmp_path, lambda line: None)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [dataset.sha256 for dataset in found] == [synthetic.SHA256] * 2
    assert len(list(tmp_path.iterdir())) == 1


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
