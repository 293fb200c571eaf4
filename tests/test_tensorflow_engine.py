"""`engine=tensorflow`, beside the tests that hold for every stock engine."""

from importlib.util import find_spec

import pytest

from mnist_gpu.errors import UserError
from tests.stock import STEPS_PER_EPOCH, Steps, StockEngine, course, distance, running, workload

pytestmark = pytest.mark.skipif(not find_spec("tensorflow"), reason="tensorflow is not installed")

SWITCHES = [
    {"steps_per_execution": 2},
    {"jit_compile": True},
    {"resident_data": True},
    {"no_autotune": True},
    {"steps_per_execution": 2, "jit_compile": True, "resident_data": True, "no_autotune": True},
]


class TestTensorFlow(StockEngine):
    name = "tensorflow"
    framework = "TensorFlow"


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_a_switch_changes_speed_alone(mnist_dir, switches):
    load = workload(mnist_dir, "mlp", dropout=False, precision="float64", epochs=4)
    assert distance(load, "tensorflow", switches=switches) < 1e-9


def test_several_steps_in_one_graph_are_told_of_at_once(mnist_dir):
    steps = Steps()
    options = {"switches": {"steps_per_execution": 2}}
    with running("tensorflow", workload(mnist_dir), **options) as engine:
        course(engine, steps)
        assert engine.facts().switches == {"steps_per_execution": 2}
        assert engine.facts().division({}) == "tuned"
    assert [step for _, step in steps.seen] == [2, STEPS_PER_EPOCH]


def test_the_wait_for_batches_is_part_of_the_training_time(mnist_dir):
    with running("tensorflow", workload(mnist_dir)) as engine:
        (row,) = course(engine).history
        assert engine.facts().data_wait_hidden is None
    assert 0 < row.data_wait_s < row.train_s


def test_no_steps_per_execution_is_refused(mnist_dir):
    options = {"switches": {"steps_per_execution": -1}}
    with (
        pytest.raises(UserError, match="steps_per_execution=-1: a whole number from 1"),
        running("tensorflow", workload(mnist_dir), **options),
    ):
        pass


def test_a_trace_leaves_a_profile_and_everything_else_as_it_was(mnist_dir, tmp_path):
    with running("tensorflow", workload(mnist_dir)) as engine:
        before = engine.state()
        engine.trace(2, tmp_path)
        after = engine.state()
    assert all((before[key] == after[key]).all() for key in before)
    assert list(tmp_path.rglob("*.xplane.pb"))
