"""Every engine trains the same thing, whatever its framework."""

import hashlib
import importlib.util
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import mnist_gpu
from mnist_gpu import data, engines
from mnist_gpu.config.compose import check, compose_config
from mnist_gpu.errors import UserError
from mnist_gpu.parity import compare, pairs
from mnist_gpu.parity.reference import Faults, Reference
from mnist_gpu.protocol.dataset import Dataset
from mnist_gpu.protocol.initial import initial_weights
from mnist_gpu.protocol.network import Network
from mnist_gpu.protocol.workload import Workload

ENGINES = [
    pytest.param("lightning", (), id="lightning"),
    pytest.param("torch", (), id="torch"),
    pytest.param("tensorflow", (), id="tensorflow"),
    pytest.param("keras", (), id="keras"),
    pytest.param("mlx", (), id="mlx"),
]
NAMES = ["lightning", "torch", "tensorflow", "keras", "mlx"]


def need(engine: str) -> None:
    if importlib.util.find_spec(pairs.FRAMEWORKS[engine]) is None:
        pytest.skip(f"{engine} is not installed")


@pytest.fixture(scope="module")
def dataset(mnist_dir):
    return data.load({"source": "mnist", "dir": str(mnist_dir)})


def small(dataset: Dataset, n: int) -> Dataset:
    return Dataset(
        dataset.name,
        dataset.sha256,
        dataset.train_images[:n],
        dataset.train_labels[:n],
        dataset.test_images,
        dataset.test_labels,
    )


def built(dataset: Dataset, name: str, model: str = "cnn", n: int = 160, **changes):
    settings = check(compose_config([f"model={model}", f"engine={name}"]))
    network = Network.from_config(model, settings.model.layers)
    load = Workload(network, small(dataset, n), initial_weights(network, 0), **changes)
    engine = engines.find(name)(load, settings.engine.model_dump(), "cpu")
    engine.build()
    return engine


def digest(engine) -> str:
    whole = hashlib.sha256()
    for name, array in sorted(engine.weights().items()):
        whole.update(name.encode() + np.ascontiguousarray(array).tobytes())
    return whole.hexdigest()


@pytest.mark.parametrize(("model", "steps"), [("mlp", 100), ("cnn", 6)])
@pytest.mark.parametrize("engine", NAMES)
def test_in_float64_every_step_is_the_references(dataset, engine, model, steps):
    need(engine)
    found = compare.differences(compare.workload(model, "float64", steps, dataset), engine)
    assert len(found) == steps
    assert max(difference.largest for difference in found) < 1e-9


@pytest.mark.parametrize("model", ["mlp", "cnn"])
@pytest.mark.parametrize("engine", NAMES)
def test_in_float32_logits_loss_and_gradients_start_the_same(dataset, engine, model):
    need(engine)
    found = compare.first_step(compare.workload(model, "float32", 1, dataset), engine)
    assert {key: value for key, value in found.items() if value > 1e-5} == {}


# Keras' PyTorch backend computes a float64 layer partly in float32 (docs/parity.md)
@pytest.mark.parametrize(("backend", "bound"), [("jax", 1e-9), ("torch", 1e-6)])
def test_keras_on_its_other_backends_is_the_same_too(backend, bound):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    (row,) = pairs.honest([f"keras:{backend}"], ["mlp"], 12, 0)
    assert max(row.loss, row.gradient, row.weights) < bound, row


@pytest.mark.parametrize("label", pairs.FAULTS)
def test_one_default_put_back_is_seen_within_twelve_steps(dataset, label):
    model = "cnn" if ("mlp", label) in pairs.NO_DIFFERENCE else "mlp"
    load = compare.workload(model, "float64", 12 if model == "mlp" else 2, dataset)
    found = compare.differences(load, "torch", faults=Faults(**pairs.FAULTS[label]))
    # not by rounding: by a hundred times the bound and more
    assert max(difference.largest for difference in found) > 1e-7


def test_the_reference_is_torchs_own_adam(dataset):
    import torch

    load = compare.workload("mlp", "float64", 30, dataset)
    reference, same = (
        Reference(load.network, load.initial_weights, load.dataset) for _ in range(2)
    )
    adam = torch.optim.Adam(same.weights.values(), lr=1e-3)
    for epoch in range(1, 31):
        indices = load.order(epoch)
        reference.step(indices)
        labels = torch.tensor(load.dataset.train_labels[indices].astype(np.int64))
        adam.zero_grad()
        logits = same.logits(load.dataset.train_images[indices])
        torch.nn.functional.cross_entropy(logits, labels).backward()
        adam.step()
    for name, weight in reference.weights.items():
        assert torch.allclose(weight, same.weights[name], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("engine", NAMES)
def test_warm_up_changes_nothing_and_the_seed_decides_everything(dataset, engine):
    need(engine)
    digests = []
    for warm in (True, False, True):
        trained = built(dataset, engine, "mlp", n=1000)
        if warm:
            before = digest(trained)
            trained.warm_up()
            assert digest(trained) == before
        metrics = trained.train_epoch(1, lambda step: None)
        digests.append((digest(trained), metrics))
        trained.close()
    assert digests[0] == digests[1] == digests[2]


@pytest.mark.parametrize("steps", [1, 4, 16])
@pytest.mark.parametrize("engine", NAMES)
def test_steps_per_execution_change_nothing_but_speed(dataset, engine, steps):
    need(engine)
    reached = []
    for steps_per_execution in (16, steps):
        trained = built(dataset, engine, "mlp", n=1000, steps_per_execution=steps_per_execution)
        seen = []
        trained.train_epoch(1, seen.append)
        assert seen[-1] == 16
        reached.append(digest(trained))
        trained.close()
    assert reached[0] == reached[1]


@pytest.mark.parametrize("engine", NAMES)
def test_state_of_one_engine_goes_on_in_another(dataset, engine):
    need(engine)
    if engine == "mlx":
        # made for Metal: a CPU would take minutes for all
        dataset = replace(
            dataset,
            test_images=dataset.test_images[:1000],
            test_labels=dataset.test_labels[:1000],
        )
    first = built(dataset, engine, "cnn", n=160)
    first.train_epoch(1, lambda step: None)
    state = first.state()
    second = built(dataset, "torch", "cnn", n=160)
    second.load_state(state)
    for key, array in second.state().items():
        assert np.array_equal(array, state[key]), key
    logits, expected = second.predict(), first.predict()
    assert np.abs(logits - expected).max() < 1e-4
    top_two = np.sort(expected, axis=1)[:, -2:]
    ties = top_two[:, 1] - top_two[:, 0] < 2e-4
    assert np.array_equal(logits.argmax(1)[~ties], expected.argmax(1)[~ties])
    assert ties.mean() < 0.01
    first.close()
    second.close()


@pytest.mark.parametrize("engine", ["tensorflow", "keras", "mlx"])
def test_a_resumed_epoch_is_the_uninterrupted_one(dataset, engine):
    need(engine)
    whole = built(dataset, engine, "mlp", n=1000)
    for epoch in (1, 2):
        whole.train_epoch(epoch, lambda step: None)
    first = built(dataset, engine, "mlp", n=1000)
    first.train_epoch(1, lambda step: None)
    second = built(dataset, engine, "mlp", n=1000)
    second.load_state(first.state())
    second.train_epoch(2, lambda step: None)
    assert digest(second) == digest(whole)
    for trained in (whole, first, second):
        trained.close()


@pytest.mark.parametrize("engine", ["tensorflow", "keras", "mlx"])
def test_a_run_leaves_the_same_record_whatever_the_framework(
    engine, tmp_path, monkeypatch, mnist_dir
):
    need(engine)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MNIST_GPU_DATA", str(mnist_dir))
    record = mnist_gpu.run(["platform=cpu", "model=mlp", "epochs=1", f"engine={engine}"])
    assert record.status == "completed"
    assert record.engine.name == engine
    assert record.result.test_accuracy > 0.94
    assert record.timing.warmup_s > 0
    assert not record.workload.standard


@pytest.mark.parametrize("engine", ["tensorflow", "keras", "mlx"])
def test_a_run_imports_its_own_framework_only(engine):
    need(engine)
    others = {"lightning", "tensorflow", "keras", "mlx"} - {engine}
    if engine == "keras":
        others -= {"tensorflow"}  # its backend
    if engine == "tensorflow":
        others -= {"keras"}  # TensorFlow knows of it, and loads it when it is asked for
    script = (
        "import sys\nfrom mnist_gpu import engines\n"
        f"engines.find({engine!r})\n"
        f"print(sorted(set(sys.modules) & {others!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("switch", ["enable", "disable"])
def test_a_framework_loads_without_being_searched_for_garbage(switch):
    script = (
        f"import gc; gc.{switch}(); found = [];"
        "gc.callbacks.append(lambda phase, info: found.append(phase));"
        "from mnist_gpu import engines; before = len(found); engines.find('torch');"
        "print(len(found) - before, gc.isenabled(), gc.get_freeze_count())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    collections, enabled, frozen = done.stdout.split()
    assert int(collections) < 10
    assert (enabled, frozen) == (str(switch == "enable"), "0")


def test_a_framework_that_is_not_installed_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlx", None)
    monkeypatch.setitem(sys.modules, "mlx.core", None)
    for name in [n for n in sys.modules if n.startswith("mnist_gpu.engines.mlx")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(UserError, match=r'engine=mlx needs mlx.*pip install "mnist-gpu\[mlx\]"'):
        engines.find("mlx")


@pytest.mark.parametrize("rate", [0.25, 0.5, 0.2])
def test_masks_of_every_framework_drop_as_declared(rate):
    masks = {}
    if importlib.util.find_spec("tensorflow"):
        import tensorflow as tf

        from mnist_gpu.engines.tensorflow import dropout

        number = tf.constant(3, tf.int64)
        like = tf.zeros((64, 24, 24, 64))
        masks["tensorflow"] = dropout.keep_mask(like, rate, number, number, 1).numpy()
    if importlib.util.find_spec("mlx"):
        import mlx.core as mx

        from mnist_gpu.engines.mlx import dropout as mlx_dropout

        like = mx.zeros((64, 24, 24, 64))
        masks["mlx"] = np.array(mlx_dropout.keep_mask(like, rate, mx.random.key(3)))
    for name, mask in masks.items():
        kept = mask != 0
        assert np.unique(mask).tolist() == pytest.approx([0.0, 1 / (1 - rate)]), name
        spread = (rate * (1 - rate) / kept.size) ** 0.5
        assert abs(kept.mean() - (1 - rate)) < 5 * spread, name
        together = (kept[..., :-1] & kept[..., 1:]).mean()
        assert together == pytest.approx((1 - rate) ** 2, abs=0.003), name


def test_mlxs_convolution_for_metal_is_the_one_for_cpus():
    need("mlx")
    import mlx.core as mx

    from mnist_gpu.engines.mlx.program import conv, conv_by_product

    x = mx.random.normal((2, 9, 9, 3), key=mx.random.key(0))
    weight = mx.random.normal((5, 3, 3, 3), key=mx.random.key(1))
    for padding in (0, 1):
        by_product = np.array(conv_by_product(x, weight, padding))
        assert np.allclose(by_product, np.array(conv(x, weight, padding)), rtol=1e-4, atol=1e-5)
