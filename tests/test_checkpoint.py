"""What a run needs to go on is on disk whole or not at all, and nothing else is believed."""

import numpy as np
import pytest

from mnist_gpu.errors import UserError
from mnist_gpu.runs import checkpoint
from mnist_gpu.runs.checkpoint import weights_sha256 as digest
from mnist_gpu.runs.resume import find_continuation
from mnist_gpu.timing.timeline import Epoch


def row(epoch: int) -> Epoch:
    return Epoch(
        epoch=epoch,
        train_s=1.0,
        eval_s=0.5,
        train_loss=0.25,
        train_accuracy=0.9,
        test_loss=0.2,
        test_accuracy=0.95,
    )


def saved(folder, epoch: int = 1, fingerprint: str = "same") -> checkpoint.Checkpoint:
    state = {
        "weights/fc1.weight": np.arange(6, dtype=np.float32).reshape(2, 3) + epoch,
        "adam_step": np.int64(938 * epoch) * np.ones((), dtype=np.int64),
    }
    content = checkpoint.Checkpoint(
        state, {"train": 10**9}, [row(n + 1) for n in range(epoch)], 1, fingerprint, "run-0001"
    )
    checkpoint.write(content, folder / "checkpoints" / f"epoch-{epoch:05d}.npz")
    return content


def path_of(folder, epoch: int = 1):
    return folder / "checkpoints" / f"epoch-{epoch:05d}.npz"


def test_what_is_read_is_what_was_written(tmp_path):
    written = saved(tmp_path)
    found = checkpoint.read(path_of(tmp_path))
    assert found.history == written.history
    assert found.totals_ns == written.totals_ns
    for name, array in written.state.items():
        assert np.array_equal(found.state[name], array)
        assert found.state[name].dtype == array.dtype


def test_a_changed_byte_anywhere_is_refused(tmp_path):
    saved(tmp_path)
    content = path_of(tmp_path).read_bytes()
    rng = np.random.default_rng(0)
    for position in rng.choice(len(content), 200, replace=False):
        broken = bytearray(content)
        broken[position] ^= 1 << rng.integers(8)
        path_of(tmp_path).write_bytes(bytes(broken))
        try:
            found = checkpoint.read(path_of(tmp_path))
        except UserError as fault:
            assert "\n" not in str(fault)
            continue
        # a byte that means nothing (a time stamp in the archive) may change; the contents may not
        assert digest(found.state) == digest(saved_state(tmp_path, content))


def saved_state(folder, content: bytes):
    path_of(folder).write_bytes(content)
    return checkpoint.read(path_of(folder)).state


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_checkpoint_is_refused_by_name(tmp_path, share):
    saved(tmp_path)
    content = path_of(tmp_path).read_bytes()
    path_of(tmp_path).write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match=r"epoch-00001\.npz"):
        checkpoint.read(path_of(tmp_path))


def test_a_pickle_is_never_loaded(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    np.savez(path_of(tmp_path), notes=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UserError, match="not a whole checkpoint"):
        checkpoint.read(path_of(tmp_path))


def test_an_unreadable_last_checkpoint_falls_back_to_the_one_before(tmp_path):
    saved(tmp_path, 1)
    saved(tmp_path, 2)
    path_of(tmp_path, 2).write_bytes(b"half")
    found = find_continuation(str(tmp_path), tmp_path / "new", "same")
    assert len(found.history) == 1
    assert found.segments == 2


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path):
    saved(tmp_path, fingerprint="other")
    with pytest.raises(UserError, match="another configuration"):
        find_continuation(str(tmp_path), tmp_path / "new", "same")


def test_auto_takes_the_newest_unfinished_run_of_the_same_configuration(tmp_path):
    saved(tmp_path / "a", fingerprint="other")
    saved(tmp_path / "b", fingerprint="same")
    found = find_continuation("auto", tmp_path / "new", "same")
    assert found.folder == tmp_path / "b"
    assert find_continuation("auto", tmp_path / "new", "third").folder == tmp_path / "new"


def test_a_folder_without_checkpoints_is_refused(tmp_path):
    with pytest.raises(UserError, match="no checkpoint there"):
        find_continuation(str(tmp_path), tmp_path / "new", "same")


def test_a_failed_write_leaves_the_old_file_and_no_partial_one(tmp_path, monkeypatch):
    target = tmp_path / "record.json"
    checkpoint.write_whole(target, b"old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.write_whole(target, b"new")
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]
