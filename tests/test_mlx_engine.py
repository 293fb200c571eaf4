"""`engine=mlx`, beside the tests that hold for every stock engine."""

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
    ends = []
    with running("tensorflow", load) as engine:
        course(engine)
        kept = engine.state()
        engine.train_epoch(2, idle(engine))
        ends.append(engine.state())
    with running("mlx", load) as engine:
        engine.load_state(kept)
        assert engine.steps_made() == 3
        engine.train_epoch(2, idle(engine))
        ends.append(engine.state())
    for key, array in ends[0].items():
        assert np.linalg.norm(ends[1][key] - array) <= 1e-9 * np.linalg.norm(array), key


def test_in_bfloat16_the_layers_round_and_the_weights_do_not(mnist_dir, monkeypatch):
    from mnist_gpu.engines import mlx

    # for GPUs alone, as a CPU has no use for it
    monkeypatch.setitem(mlx.POSSIBLE, "cpu", ("float32", "bf16-mixed"))
    losses = []
    for precision in ("float32", "bf16-mixed"):
        with running("mlx", workload(mnist_dir, n=2000, precision=precision)) as engine:
            losses.append(course(engine).history[0].train_loss)
            weights = engine.weights()
    assert 1e-6 < abs(losses[0] - losses[1]) < 0.02
    in_bfloat16 = [array.view(np.uint32) & 0xFFFF for array in weights.values()]
    assert all(low_bits.any() for low_bits in in_bfloat16)


def test_a_device_that_is_not_there_is_named(mnist_dir):
    from mnist_gpu.engines.base import EngineOptions
    from mnist_gpu.engines.mlx import ENGINE, mx

    if mx.metal.is_available():
        pytest.skip("there is a Metal GPU")
    with pytest.raises(UserError, match="does not see the Metal GPU of Apple silicon"):
        ENGINE(workload(mnist_dir), EngineOptions(), "mps").build()
