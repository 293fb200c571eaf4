"""What holds between engines, whatever their frameworks."""

import importlib.util
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

import mnist_gpu
from mnist_gpu import engines
from mnist_gpu.errors import UserError
from mnist_gpu.faults import small
from mnist_gpu.parity import compare, pairs
from mnist_gpu.parity.reference import Reference
from mnist_gpu.records.rules import check_record
from tests.workloads import built, first_images, fitted, imported_by, mnist, workload

OTHERS = ("tensorflow", "keras", "mlx")


def need(engine: str) -> None:
    if importlib.util.find_spec(engine) is None:
        pytest.skip(f"{engine} is not installed")


@pytest.fixture(scope="module")
def dataset(mnist_dir):
    return mnist(str(mnist_dir))


# Keras' PyTorch backend computes a float64 layer partly in float32 (docs/parity.md)
@pytest.mark.slow
@pytest.mark.parametrize(("backend", "bound"), [("jax", 1e-9), ("torch", 1e-6)])
def test_keras_on_its_other_backends_is_the_same_too(backend, bound):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    (row,) = pairs.honest([f"keras:{backend}"], ["mlp"], 10, 0)
    assert row.worst.largest < bound, row


@pytest.mark.parametrize("label", pairs.FAULTS)
def test_one_default_put_back_is_seen_within_ten_steps(dataset, label):
    model = "cnn" if ("mlp", label) in pairs.NO_DIFFERENCE else "mlp"
    load = compare.make_workload(model, "float64", 10, dataset)
    found = compare.differences(load, "torch", faults=pairs.FAULTS[label])
    # not by rounding: by a hundred times the bound and more
    assert max(difference.largest for difference in found) > 1e-7


def test_the_reference_is_torchs_own_adam(dataset):
    import torch

    load = compare.make_workload("mlp", "float64", 30, dataset)
    reference, same = Reference(load), Reference(load)
    adam = torch.optim.Adam(same.weights.values(), lr=1e-3)
    for epoch in range(1, load.epochs + 1):
        for indices in np.array_split(load.order(epoch), 4):
            reference.step(indices)
            labels = torch.tensor(load.dataset.train_labels[indices].astype(np.int64))
            adam.zero_grad()
            logits = same.logits(load.dataset.train_images[indices])
            torch.nn.functional.cross_entropy(logits, labels).backward()
            adam.step()
    for name, weight in reference.weights.items():
        assert torch.allclose(weight, same.weights[name], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("engine", OTHERS)
def test_state_of_one_engine_goes_on_in_another(dataset, engine):
    need(engine)
    model = "cnn" if pairs.trains(engine, "cnn") else "mlp"
    load = workload(first_images(dataset, 96, 64), model)
    first, second = built(load, engine), built(load, "torch")
    try:
        fitted(first)
        state = first.state()
        second.load_state(state)
        for key, array in second.state().items():
            assert np.array_equal(array, state[key]), key
        logits, expected = second.predict(), first.predict()
        assert np.abs(logits - expected).max() < 1e-4
    finally:
        first.close()
        second.close()


@pytest.mark.parametrize("engine", OTHERS)
def test_a_run_leaves_the_same_record_whatever_the_framework(engine, tmp_path, monkeypatch):
    need(engine)
    monkeypatch.chdir(tmp_path)
    digits = small.write(tmp_path / "digits", 3232, 640)
    asked = ["platform=cpu", "model=mlp", "epochs=2", f"engine={engine}", *digits]
    record = mnist_gpu.run(asked)
    assert record.status == "completed"
    assert (record.engine.name, record.engine.switches) == (engine, {})
    # what sets the speed of whoever runs the tests is a switch of its own
    assert record.engine.division == ("tuned" if record.engine.environment else "stock")
    assert record.workload.steps_made == 2 * 51
    assert record.result.test_accuracy > 0.5
    assert record.timing.warmup_s > 0
    assert (record.timing.data_wait_s is None) == ("data_wait_s" in record.timing.reasons)
    assert not record.workload.standard
    assert check_record(record, datetime.now(UTC)) == []


@pytest.mark.parametrize("engine", engines.names())
def test_every_default_that_is_set_aside_has_a_row_in_the_document(dataset, engine):
    need(engine)
    trained = built(workload(first_images(dataset, 64, 10)), engine)
    try:
        lines = trained.facts().deviations_from_defaults
    finally:
        trained.close()
    page = (Path(__file__).parents[1] / "docs" / "parity.md").read_text("utf-8")
    table = page.partition("## Where a default is set aside")[2].partition("\n## ")[0]
    named = [row.split("|")[1].strip() for row in table.splitlines() if row.startswith("| ")]
    # one of a device, a precision or a division alone says so after the names
    of_all = [names for names in named if not re.search(" (on|in) ", names)]
    rows = [names for names in of_all if engine in names.split(", ")]
    assert len(rows) == len(lines), (rows, lines)


def test_an_engine_is_proven_on_the_models_that_it_trains_alone(monkeypatch):
    monkeypatch.setattr(pairs, "shipped", lambda name: {"models": ["mlp"]})
    [row] = pairs.honest(["torch"], ["cnn", "mlp"], 1, 0)
    assert (row.model, row.as_it_should_be) == ("mlp", True)
    with pytest.raises(UserError, match="torch: trains none of cnn"):
        next(pairs.honest(["torch"], ["cnn"], 1, 0))


@pytest.mark.parametrize("engine", OTHERS)
def test_a_run_imports_its_own_framework_only(engine):
    need(engine)
    others = {"lightning", "tensorflow", "keras", "mlx"} - {engine}
    if engine in ("keras", "tensorflow"):
        others -= {"keras", "tensorflow"}  # the layers, and what computes them
    assert imported_by(engine, others) == set()


def test_a_framework_that_is_not_installed_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlx", None)
    monkeypatch.setitem(sys.modules, "mlx.core", None)
    for name in [n for n in sys.modules if n.startswith("mnist_gpu.engines.mlx")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(UserError, match=r'engine=mlx needs mlx.*pip install "mnist-gpu\[mlx\]"'):
        engines.find("mlx")


@pytest.mark.slow
def test_a_sweep_goes_from_tensorflow_to_pytorch_in_one_process(tmp_path):
    pytest.importorskip("tensorflow")
    (tmp_path / "digits").mkdir()
    asked = ["-m", "engine=tensorflow,lightning", "model=mlp", "epochs=1", "platform=cpu"]
    command = [sys.executable, "-m", "mnist_gpu.train", *asked]
    done = subprocess.run(
        [*command, *small.write(tmp_path / "digits", 640, 128)],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("multirun/*/*/record.json"))) == 2
