"""2,000 damaged files and configurations: each is refused in one line or means what it says."""

import copy
import gzip
import math
import random

import numpy as np
import pytest
from omegaconf import OmegaConf

from mnist_gpu.config.compose import check, compose_config
from mnist_gpu.config.errors import format_error
from mnist_gpu.data import mnist
from mnist_gpu.errors import UserError
from mnist_gpu.faults import small
from mnist_gpu.records.store import read_record, write_record
from mnist_gpu.runs import checkpoint
from tests.records import make_record
from tests.test_checkpoint import path_of, saved

JUNK = [
    *(None, True, False, -1, 0, 1, 2.5, 10**30, math.nan, math.inf, -math.inf, 1e-300),
    *("", " ", "abc", "a\nb", "\x00", "é" * 5000, "../../etc", "auto", "epoch", "1", "nan"),
    *([], {}, [[]], [None], {"a": {}}, ["a", 1], {"_target_": "os.system"}, {"kind": "conv"}),
    *("${seed}", "${nothing}", "${oc.env:HOME}", "${oc.decode:'{}'}", "${", "${a.b.c}", "???"),
]


def damaged(rng: random.Random, content: bytes) -> bytes:
    """`content` with one thing wrong."""
    position = rng.randrange(len(content))
    length = rng.randrange(1, 64)
    before, after = content[:position], content[position:]
    return rng.choice(
        [
            lambda: before + bytes([after[0] ^ (1 << rng.randrange(8))]) + after[1:],
            lambda: before,
            lambda: before + rng.randbytes(length) + after,
            lambda: before + after[length:],
            lambda: before + bytes(length) + after[length:],
            lambda: before + after[:length] + after,
            lambda: content + rng.randbytes(length),
        ]
    )()


def refusal(work) -> tuple[str | None, object]:
    try:
        return None, work()
    except UserError as fault:
        line = str(fault)
    assert line
    assert "\n" not in line
    return line, None


def test_damaged_checkpoints_are_refused_or_mean_the_same(tmp_path):
    rng = random.Random(1)
    saved(tmp_path)
    path = path_of(tmp_path)
    whole, content = checkpoint.read(path), path.read_bytes()
    refused = 0
    for _ in range(500):
        path.write_bytes(damaged(rng, content))
        line, found = refusal(lambda: checkpoint.read(path))
        refused += line is not None
        if line is None:
            assert found.history == whole.history
            assert found.totals_ns == whole.totals_ns
            assert found.fingerprint == whole.fingerprint
            for name, array in whole.state.items():
                assert np.array_equal(found.state[name], array)
        else:
            assert path.name in line
    assert refused > 400


@pytest.mark.parametrize("zipped", [True, False])
def test_damaged_idx_files_are_refused_or_named_for_what_they_are(tmp_path, zipped):
    rng = random.Random(2)
    small.write(tmp_path, 64, 64)
    names = sorted(path.name for path in tmp_path.iterdir())
    if zipped:
        for name in names:
            (tmp_path / f"{name}.gz").write_bytes(gzip.compress((tmp_path / name).read_bytes()))
            (tmp_path / name).unlink()
        names = [f"{name}.gz" for name in names]
    whole = mnist.load(tmp_path, custom=True)
    for _ in range(350):
        path = tmp_path / rng.choice(names)
        content = path.read_bytes()
        path.write_bytes(damaged(rng, content))
        line, found = refusal(lambda: mnist.load(tmp_path, custom=True))
        assert refusal(lambda: mnist.load(tmp_path))[0]
        path.write_bytes(content)
        if line is not None:
            assert str(tmp_path) in line
            continue
        assert found.name == "custom"
        assert found.train_labels.max() <= 9
        same = all(
            np.array_equal(getattr(found, part), getattr(whole, part))
            for part in ("train_images", "train_labels", "test_images", "test_labels")
        )
        assert (found.sha256 == whole.sha256) == same
        assert same or not zipped


def test_damaged_records_are_refused_or_still_records(tmp_path):
    rng = random.Random(3)
    path = tmp_path / "record.json"
    write_record(make_record(), path)
    content = path.read_bytes()
    for _ in range(150):
        path.write_bytes(damaged(rng, content))
        line, _ = refusal(lambda: read_record(path))
        assert line is None or "record.json" in line


def places(value, path=()):
    yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, entry in entries:
        if isinstance(entry, (dict, list)) and entry:
            yield from places(entry, (*path, key))
        else:
            yield (*path, key)


def mutated(rng: random.Random, plain: dict) -> dict:
    """`plain` with one to three entries replaced, removed or added."""
    plain = copy.deepcopy(plain)
    for _ in range(rng.randrange(1, 4)):
        *way, last = rng.choice([path for path in places(plain) if path])
        parent = plain
        for key in way:
            parent = parent[key]
        action = rng.randrange(4)
        if action == 0:
            del parent[last]
        elif action == 1 and isinstance(parent, dict):
            parent[rng.choice(["extra", "_target_", "()", "name", "0"])] = rng.choice(JUNK)
        else:
            parent[last] = rng.choice(JUNK)
    return plain


def believed(plain: dict):
    try:
        config = OmegaConf.create(plain)
    except Exception as exc:
        raise format_error(exc) from None
    return check(config)


def test_damaged_configurations_are_refused_or_mean_what_they_say():
    rng = random.Random(4)
    config = compose_config(["model=mlp", "platform=cpu"])
    plain = OmegaConf.to_container(
        OmegaConf.masked_copy(config, [k for k in config if k != "hydra"])
    )
    accepted = 0
    for _ in range(600):
        changed = mutated(rng, plain)
        line, settings = refusal(lambda changed=changed: believed(changed))
        if line is not None:
            continue
        accepted += 1
        assert type(settings.epochs) is int
        assert settings.epochs >= 1
        assert type(settings.seed) is int
        assert 0 < settings.learning_rate <= 10
        assert settings.precision in ("float32", "tf32", "bf16-mixed", "16-mixed", "float64")
        assert settings.platform.accelerator in ("auto", "cpu", "cuda", "mps")
        assert isinstance(settings.rerun, bool)
        for key in ("batch_size", "devices", "checkpoint_every", "resume"):
            if "$" not in str(changed[key]):
                assert getattr(settings, key) == changed[key]
    assert accepted > 30


def test_damaged_configuration_files_are_refused_or_mean_what_they_say(tmp_path):
    rng = random.Random(5)
    (tmp_path / "experiment").mkdir()
    path = tmp_path / "experiment" / "mine.yaml"
    content = (
        b"# @package _global_\ndefaults:\n  - override /model: mlp\n  - override /data: mnist\n"
        b"epochs: 3\nseed: 7\nlearning_rate: 0.01\nplatform:\n  accelerator: cpu\n"
        b"data:\n  dir: /somewhere\nhydra:\n  job:\n    name: mine\n"
    )
    overrides = [f"hydra.searchpath=[file://{tmp_path}]", "experiment=mine", "platform=cpu"]
    path.write_bytes(content)
    assert check(compose_config(overrides)).seed == 7
    for _ in range(50):
        path.write_bytes(damaged(rng, content))
        line, settings = refusal(lambda: check(compose_config(overrides)))
        assert line is not None or type(settings.seed) is int
