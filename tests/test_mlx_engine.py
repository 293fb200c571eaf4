"""`engine=mlx`, beside the tests that hold for every stock engine."""

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

from mnist_gpu.errors import UserError
from tests.stock import StockEngine, course, idle, running, workload

pytestmark = pytest.mark.skipif(not find_spec("mlx"), reason="mlx is not installed")


class TestMLX(StockEngine):
    name = "mlx"
    framework = "MLX"


def test_the_wait_for_batches_is_part_of_the_training_time(mnist_dir):
    with running("mlx", workload(mnist_dir)) as engine:
        (row,) = course(engine).history
    assert 0 < row.data_wait_s < row.train_s


def test_mlx_goes_on_from_another_engines_state(mnist_dir):
    if not find_spec("tensorflow"):
        pytest.skip("tensorflow is not installed")
    load = workload(mnist_dir, "cnn", dropout=False, n=20, batch_size=8, precision="float64")
    few = replace(
        load,
        dataset=replace(
            load.dataset,
            test_images=load.dataset.test_images[:4],
            test_labels=load.dataset.test_labels[:4],
        ),
    )
    ends = []
    with running("tensorflow", few) as engine:
        course(engine)
        kept = engine.state()
        engine.train_epoch(2, idle(engine))
        ends.append(engine.state())
    with running("mlx", few) as engine:
        engine.load_state(kept)
        assert engine.steps_made() == 3
        engine.train_epoch(2, idle(engine))
        ends.append(engine.state())
    for key, array in ends[0].items():
        assert np.linalg.norm(ends[1][key] - array) <= 1e-9 * np.linalg.norm(array), key


def test_bfloat16_layers_leave_the_weights_in_float32(mnist_dir):
    import mlx.core as mx

    from mnist_gpu.engines.mlx import model as layers

    with running("mlx", workload(mnist_dir)) as engine:
        images = engine.test_images[:5]
        engine.model.eval()
        logits = layers.in_bfloat16(engine.model, images)
        assert {weight.dtype for weight in engine.model.layers[1].parameters().values()} == {
            mx.float32
        }
        exact = np.array(engine.model(images))
    assert logits.dtype == mx.float32
    assert 1e-4 < np.abs(np.array(logits) - exact).max() < 0.05


def test_a_device_that_is_not_there_is_named(mnist_dir):
    from mnist_gpu.engines.base import EngineOptions
    from mnist_gpu.engines.mlx import ENGINE, mx

    if mx.metal.is_available():
        pytest.skip("there is a Metal GPU")
    with pytest.raises(UserError, match="does not see the Metal GPU of Apple silicon"):
        ENGINE(workload(mnist_dir), EngineOptions(), "mps").build()
