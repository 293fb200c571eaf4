"""`engine=keras`, beside the tests that hold for every stock engine."""

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest

from mnist_gpu.errors import UserError
from tests.stock import STEPS_PER_EPOCH, Steps, StockEngine, course, distance, running, workload

pytestmark = pytest.mark.skipif(not find_spec("keras"), reason="keras is not installed")

TOGETHER = {"steps_per_execution": 2, "jit_compile": True, "resident_data": True}
SWITCHES = [
    {"steps_per_execution": 2},
    {"jit_compile": True},
    {"resident_data": True},
    {"no_autotune": True},
    {**TOGETHER, "no_autotune": True},
]
OTHER_BACKEND = """
import json, os, sys
from pathlib import Path
from tests.stock import distance, workload
load = workload(
    Path(os.environ["MNIST_GPU_DATA"]), "mlp", dropout=False, precision="float64", epochs=4
)
for switches in json.loads(sys.argv[2]):
    print(distance(load, "keras", backend=sys.argv[1], switches=switches))
"""
# Keras' PyTorch backend multiplies matrices of float64 in float32
OTHERS = [("jax", [{}, TOGETHER], 1e-9), ("torch", [{}, {"resident_data": True}], 1e-6)]


class TestKeras(StockEngine):
    name = "keras"
    framework = "Keras"


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_a_switch_changes_speed_alone(mnist_dir, switches):
    load = workload(mnist_dir, "mlp", dropout=False, precision="float64", epochs=4)
    assert distance(load, "keras", switches=switches) < 1e-9


@pytest.mark.parametrize(("backend", "switches", "bound"), OTHERS)
def test_another_backend_computes_the_same(mnist_dir, backend, switches, bound):
    if not find_spec(backend):
        pytest.skip(f"{backend} is not installed")
    # a process has one backend
    command = [sys.executable, "-c", OTHER_BACKEND, backend, json.dumps(switches)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    distances = [float(line) for line in done.stdout.split()]
    assert len(distances) == len(switches)
    assert max(distances) < bound


def test_another_backend_in_the_same_process_is_refused(mnist_dir):
    with (
        running("keras", workload(mnist_dir)),
        pytest.raises(UserError, match="Keras runs on tensorflow in this process already"),
        running("keras", workload(mnist_dir), backend="torch"),
    ):
        pass


def test_what_is_no_backend_is_named_with_those_there_are(mnist_dir):
    with (
        pytest.raises(UserError, match=r"engine\.backend=theano: choose from tensorflow, jax"),
        running("keras", workload(mnist_dir), backend="theano"),
    ):
        pass


def test_a_switch_at_keras_own_default_is_none(mnist_dir):
    # without a GPU, Keras' "auto" compiles nothing by XLA
    options = {"switches": {"jit_compile": False, "steps_per_execution": 1}}
    with running("keras", workload(mnist_dir), **options) as engine:
        assert engine.facts().division({}) == "stock"


def test_fit_with_several_steps_at_once_tells_of_as_many(mnist_dir):
    steps = Steps()
    options = {"switches": {"steps_per_execution": 2}}
    with running("keras", workload(mnist_dir), **options) as engine:
        course(engine, steps)
        assert engine.facts().division({}) == "tuned"
    assert [step for _, step in steps.seen if step] == [2, STEPS_PER_EPOCH]


def test_the_wait_for_batches_is_hidden_and_the_facts_say_why(mnist_dir):
    with running("keras", workload(mnist_dir)) as engine:
        (row,) = course(engine).history
        assert "fit" in engine.facts().data_wait_hidden
    assert row.data_wait_s is None


def test_after_close_keras_makes_what_it_made_before(mnist_dir):
    import keras

    before = keras.config.floatx(), keras.config.dtype_policy().name
    with running("keras", workload(mnist_dir, precision="float64")):
        assert keras.config.floatx() == "float64"
    assert (keras.config.floatx(), keras.config.dtype_policy().name) == before


def test_keras_and_tensorflow_go_on_from_each_others_state(mnist_dir):
    load = workload(mnist_dir, "cnn", dropout=False, n=20, epochs=1, batch_size=8)
    with running("keras", load) as engine:
        course(engine)
        kept, logits = engine.state(), engine.predict()
    with running("tensorflow", load) as engine:
        engine.load_state(kept)
        assert engine.predict() == pytest.approx(logits, abs=1e-5)
        assert engine.steps_made() == STEPS_PER_EPOCH
