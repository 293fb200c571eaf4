"""engine=torch and engine=lightning: stock, tuned and open train the same thing."""

import gc
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from mnist_gpu.engines.base import EngineOptions, switched_on
from mnist_gpu.engines.torch.kernels import network
from mnist_gpu.engines.torch.network import take_state
from mnist_gpu.errors import UserError
from mnist_gpu.parity import compare, pairs
from mnist_gpu.protocol.network import Network
from mnist_gpu.timing.timeline import Interrupted, Observer
from tests.workloads import built, first_images, fitted, imported_by, mnist, workload

ENGINES = ("torch", "lightning")
SWITCHES = ("fused_adam", "channels_last", "resident_data", "keep_memory")


@pytest.fixture(scope="module")
def dataset(mnist_dir):
    return first_images(mnist(str(mnist_dir)), 480)


@pytest.fixture(scope="module")
def whole(mnist_dir):
    return mnist(str(mnist_dir))


def same(one: dict, other: dict) -> bool:
    return all(np.array_equal(array, other[name]) for name, array in one.items())


@pytest.mark.parametrize("switches", [(), *((name,) for name in SWITCHES), SWITCHES])
@pytest.mark.parametrize("engine", ENGINES)
def test_every_switch_alone_and_all_together_are_the_reference_in_float64(whole, engine, switches):
    load = compare.make_workload("mlp", "float64", 100, whole)
    options = EngineOptions(switches=dict.fromkeys(switches, True))
    found = compare.differences(load, engine, options)
    assert len(found) == 10
    assert max(difference.largest for difference in found) < 1e-9


@pytest.mark.parametrize("engine", ENGINES)
def test_open_of_a_small_network_is_the_reference_in_float64(whole, engine):
    name, options = pairs.parse(f"{engine}+open")
    load = compare.make_workload("mlp", "float64", 100, whole)
    found = compare.differences(load, name, options)
    assert len(found) == 10
    assert max(difference.largest for difference in found) < 1e-9
    assert built(load, name, division="open").facts().kernels == ["first_linear"]


@pytest.mark.parametrize("variant", ["lightning", "torch+channels_last", "torch+open"])
def test_ten_steps_of_the_standard_network_are_the_reference_in_float64(whole, variant):
    engine, options = pairs.parse(variant)
    load = compare.make_workload("cnn", "float64", 10, whole)
    [found] = compare.differences(load, engine, options)
    assert found.largest < 1e-9


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")
def test_a_compiled_step_is_the_reference_in_float64(whole):
    load = compare.make_workload("mlp", "float64", 10, whole)
    [found] = compare.differences(load, "torch", EngineOptions(switches={"compile": True}))
    assert found.largest < 1e-9


def test_open_has_its_kernels_in_the_record_and_stock_has_none(dataset):
    opened = built(workload(dataset, "cnn"), "torch", division="open").facts()
    assert opened.kernels == ["first_convolution", "pooled_convolution", "sparse_linear"]
    assert opened.division({}) == "open"
    stock = built(workload(dataset, "cnn"), "torch").facts()
    assert (stock.kernels, stock.switches, stock.division({})) == ([], {}, "stock")


def test_a_layer_that_does_not_follow_a_relu_keeps_pytorchs_own(dataset):
    layers = [
        {"kind": "flatten"},
        {"kind": "linear", "name": "fc1", "units": 128},
        {"kind": "linear", "name": "fc2", "units": 10},
    ]
    load = replace(workload(dataset), network=Network.from_config("linear", layers))
    load.initial_weights["fc2.weight"] = load.initial_weights["fc2.weight"]
    assert built(load, "torch", division="open").facts().kernels == []


def test_open_switches_nothing_on_for_an_engine_without_kernels():
    opened = EngineOptions(division="open")
    assert switched_on(opened, "keras", "cpu", {"resident_data": bool}) == {}


def test_the_division_is_worked_out_from_what_is_on(dataset):
    load = workload(dataset)
    assert built(load, "torch", fused_adam=True).facts().division({}) == "tuned"
    assert built(load, "torch", fused_adam=False).facts().division({}) == "stock"
    assert built(load, "torch").facts().division({"LD_PRELOAD": "libjemalloc.so"}) == "tuned"


def test_an_unknown_switch_and_a_wrong_value_are_answered_with_what_there_is(dataset):
    with pytest.raises(UserError, match=r"engine=torch has no such switch on cpu; there are chan"):
        built(workload(dataset), "torch", overclock=True)
    with pytest.raises(UserError, match=r"engine.switches.fused_adam=7: true or false"):
        built(workload(dataset), "torch", fused_adam=7)


def test_a_precision_the_device_cannot_do_is_answered_with_those_it_can(dataset):
    with pytest.raises(UserError, match="on cpu choose from float32"):
        built(workload(dataset, precision="tf32"), "torch")


def test_lightning_and_the_plain_loop_train_to_the_same_bits(dataset):
    load = workload(dataset, epochs=2)
    plain, trainer = built(load, "torch"), built(load, "lightning")
    histories = [fitted(engine).history for engine in (plain, trainer)]
    assert same(plain.weights(), trainer.weights())
    for one, other in zip(*histories, strict=True):
        assert other.train_loss == pytest.approx(one.train_loss, rel=1e-6)
        assert other.test_accuracy == one.test_accuracy
        assert other.train_accuracy == one.train_accuracy


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("division", ["stock", "open"])
def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(dataset, engine, division):
    model = "cnn" if division == "open" else "mlp"
    load = workload(first_images(dataset, 160), model, epochs=3)
    uninterrupted = built(load, engine, division)
    fitted(uninterrupted)
    first = built(replace(load, epochs=1), engine, division)
    history = fitted(first).history
    second = built(load, engine, division)
    second.load_state(first.state())
    assert same(second.state(), first.state())
    assert second.steps_made() == load.steps_per_epoch
    fitted(second, history=history)
    assert same(second.state(), uninterrupted.state())
    assert second.steps_made() == 3 * load.steps_per_epoch


@pytest.mark.parametrize("engine", ENGINES)
def test_a_warm_up_changes_nothing(dataset, engine):
    load = workload(dataset)
    cold, warm = built(load, engine), built(load, engine)
    before = warm.state()
    warm.warm_up()
    assert same(warm.state(), before)
    fitted(cold)
    fitted(warm)
    assert same(warm.weights(), cold.weights())


@pytest.mark.parametrize("engine", ENGINES)
def test_the_hosts_wait_for_batches_is_part_of_training(dataset, engine):
    [row] = fitted(built(workload(dataset), engine)).history
    assert 0 < row.data_wait_s < row.train_s


@pytest.mark.parametrize("engine", ENGINES)
def test_a_signal_ends_the_training_within_an_epoch(dataset, engine):
    class Signal(Observer):
        vital = True

        def began_with(self, timeline):
            self.timeline = timeline

        def progressed(self, epoch, step):
            if (epoch, step) == (2, 3):
                raise Interrupted(15)

    trained = built(workload(dataset, epochs=5), engine)
    with pytest.raises(Interrupted):
        fitted(trained, [Signal()])
    assert trained.steps_made() == 8 + 3


@pytest.mark.parametrize("engine", ENGINES)
def test_predictions_are_those_that_were_evaluated(dataset, engine):
    trained = built(workload(dataset), engine)
    [row] = fitted(trained).history
    logits = trained.predict()
    assert (logits.shape, logits.dtype) == ((500, 10), np.float32)
    assert (logits.argmax(1) == dataset.test_labels).mean() == row.test_accuracy


@pytest.mark.parametrize("division", ["stock", "open"])
def test_any_engine_goes_on_from_the_state_of_the_open_network(dataset, division):
    load = workload(first_images(dataset, 96), "cnn", dropout=False)
    first, second = built(load, "torch", "open"), built(load, "torch", division)
    fitted(first)
    second.load_state(first.state())
    assert same(second.state(), first.state())
    assert np.abs(second.predict() - first.predict()).max() < 1e-4


def test_moments_are_zero_before_the_first_step(dataset):
    engine = built(workload(dataset), "torch")
    state = take_state(engine.network, None)
    assert state["adam_step"] == 0
    assert not state["adam_m/fc1.weight"].any()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_trace_of_some_whole_steps_changes_nothing(dataset, tmp_path, engine):
    traced = built(workload(dataset), engine)
    before = traced.state()
    traced.trace(2, tmp_path)
    assert same(traced.state(), before)
    assert (tmp_path / "trace.json").stat().st_size > 1000
    assert "Optimizer.step#Adam.step" in (tmp_path / "operators.txt").read_text()


def test_a_trace_may_have_more_steps_than_an_epoch(dataset, tmp_path):
    traced = built(workload(first_images(dataset, 96)), "torch")
    traced.trace(4, tmp_path)
    twin = built(workload(first_images(dataset, 96)), "torch")
    assert fitted(traced).history[0].train_accuracy == fitted(twin).history[0].train_accuracy


@pytest.mark.parametrize(("engine", "division"), [("torch", "stock"), ("lightning", "open")])
def test_no_step_leaves_a_piece_of_memory_behind(dataset, engine, division):
    """What lies between what the steps leave free changes what malloc gives back, and with it a
    step's time (docs/performance.md)."""

    seen = []

    class Tensors(Observer):
        vital = True

        def progressed(self, epoch, step):
            gc.collect()  # of other tests
            # not isinstance: an object may be a proxy of what is gone
            seen.append(sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects()))

    fitted(built(workload(dataset), engine, division), [Tensors()])
    # the first step makes moments and gradients, the last one the epoch's means
    between = seen[1:-1]
    assert len(between) == 6
    assert len(set(between)) == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_whatever_a_run_in_mixed_precision_computes_is_in_mixed_precision(dataset, engine):
    trained = built(workload(first_images(dataset, 64), precision="bf16-mixed"), engine)
    seen = {"warm-up": set(), "training": set(), "predictions": set()}
    of = iter(seen.values())
    noted = next(of)

    def note(layer, inputs, output):
        noted.add(output.dtype)

    trained.network[-1].register_forward_hook(note)
    trained.warm_up()
    noted = next(of)
    fitted(trained)
    noted = next(of)
    assert trained.predict().dtype == np.float32
    assert seen == {what: {torch.bfloat16} for what in seen}


def test_after_an_exception_the_network_is_where_its_engine_computes(dataset):
    failing = built(workload(dataset), "lightning")
    # Lightning's teardown takes a module off its device; the engine brings it back to its own
    failing.device, failing.synchronise = torch.device("meta"), lambda: None

    class Failing(Observer):
        vital = True

        def progressed(self, epoch, step):
            raise Interrupted(15)

    with pytest.raises(Interrupted):
        fitted(failing, [Failing()])
    assert {parameter.device.type for parameter in failing.network.parameters()} == {"meta"}


@pytest.mark.parametrize("model", ["cnn", "mlp"])
def test_bf16_learns_like_float32(dataset, model):
    found = []
    for precision in ("bf16-mixed", "float32"):
        load = workload(first_images(dataset, 320), model, dropout=False, precision=precision)
        found.append(fitted(built(load, "torch")).history[0].train_loss)
    assert found[0] == pytest.approx(found[1], rel=0.05)
    assert found[0] != found[1]


def test_open_and_stock_drop_the_declared_share(dataset):
    torch.manual_seed(1)
    n = 1 << 20
    for rate in (0.25, 0.5, 0.375):
        keep = network.keep_bits(n, rate)
        bits = (keep.unsqueeze(1) >> torch.arange(8) & 1).double()
        assert abs(bits.mean().item() - (1 - rate)) < 5 * (rate * (1 - rate) / n) ** 0.5
        together = (bits[:, :-1] * bits[:, 1:]).mean().item()
        assert together == pytest.approx((1 - rate) ** 2, abs=0.005)


@pytest.mark.parametrize(("rate", "digits"), [(0.25, 2), (0.5, 1), (0.375, 3), (3 / 256, 8)])
def test_a_rate_in_few_bits_drops_exactly_its_share_of_all_bits_there_are(rate, digits):
    every = np.arange(2**digits)
    random = [torch.from_numpy(every >> place & 1) for place in range(digits)]
    kept = network.join(random, network.digits(rate))
    assert (kept == 0).double().mean() == rate


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_imports_no_other_framework(engine):
    others = {"lightning", "tensorflow", "keras", "mlx", "hydra"} - {engine}
    assert imported_by(engine, others) == set()


def test_an_engine_that_trains_again_leaves_nothing_of_the_last_time_on_the_trainer(dataset):
    trained = built(workload(first_images(dataset, 64)), "lightning")
    before = list(trained.trainer.callbacks)
    for _ in range(2):
        fitted(trained)
        assert trained.trainer.callbacks == before
