"""What the torch and lightning engines do for devices that are not here: CUDA and Metal.

On CUDA: the step on fake tensors that say they are there, whose operators work out shapes, types
and devices alone. Autograd's engine asks the driver for a stream, so gradients are made up: of
PyTorch's own derivatives nothing is shown here, of everything around them all.

On Metal: the step on the CPU, under a mode that lacks what Metal lacks.
"""

from contextlib import contextmanager

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mnist_gpu.engines.base import EngineOptions, switched_on
from mnist_gpu.engines.lightning import tuned
from mnist_gpu.engines.lightning.module import MNISTModule
from mnist_gpu.engines.lightning.tuned import TunedModule
from mnist_gpu.engines.torch import tuning
from mnist_gpu.engines.torch.device import autocast, parameter_dtype, set_precision
from mnist_gpu.engines.torch.network import MNISTNetwork, build_network
from mnist_gpu.engines.torch.step import TrainStep
from mnist_gpu.errors import UserError
from mnist_gpu.protocol.network import named_network
from tests.workloads import built, first_images, fitted, mnist, workload

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
MODELS = ("cnn", "mlp", "lenet5")
PRECISIONS = ("float32", "tf32", "bf16-mixed", "16-mixed", "float64")
ALL_ON_CUDA = {"fused_adam": True, "channels_last": True, "cuda_graphs": True}


@pytest.fixture(autouse=True)
def a_gpu_that_knows_mixed_precision(monkeypatch):
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)


class OnTheDevice(TorchDispatchMode):
    """Refuses operators that mix the device's tensors with the host's, and notes who asks the
    device for a number."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        kinds = {t.device.type for t in tensors if t.dim()}
        assert len(kinds) <= 1, f"{func} mixes {kinds}"
        if func.overloadpacket.__name__ in ("_local_scalar_dense", "item", "is_nonzero"):
            asked = [str(func) for t in tensors if t.device.type == "cuda"]
            self.asked += asked
            if asked:
                return 0.0  # a device that is not there knows nothing
        return func(*args, **kwargs)


def batch(dtype: torch.dtype, n: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.empty(n, 1, 28, 28, dtype=dtype, device=CUDA)
    return images, torch.zeros(n, dtype=torch.int64, device=CUDA)


@contextmanager
def cuda_at_hand(name: str):
    """Fake tensors on CUDA within, and numbers in the parameters' type of a precision."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(parameter_dtype(name))
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):
            yield
    finally:
        torch.set_default_dtype(before)


def gradients_made_up(monkeypatch, network: torch.nn.Module) -> None:
    def backward(loss):
        assert loss.requires_grad
        for parameter in network.parameters():
            parameter.grad = torch.empty_like(parameter)

    monkeypatch.setattr(torch.Tensor, "backward", backward)


def step_on_cuda(model: str, name: str, switches: dict) -> TrainStep:
    with CUDA:
        network = build_network(named_network(model)).train()
    if switches.get("channels_last"):
        # `Module.to` cannot change fake parameters
        for layer in network:
            if isinstance(layer, torch.nn.Conv2d):
                there = layer.weight.detach().contiguous(memory_format=torch.channels_last)
                layer.weight = torch.nn.Parameter(there)
    adam = torch.optim.Adam(network.parameters(), lr=1e-3, **tuning.adam_arguments(switches))
    return TrainStep(network, adam, name, CUDA, images=8)


@pytest.mark.parametrize("name", PRECISIONS)
@pytest.mark.parametrize("model", MODELS)
def test_a_stock_step_keeps_the_hosts_tensors_out_of_the_device(monkeypatch, model, name):
    with cuda_at_hand(name):
        step = step_on_cuda(model, name, {})
        gradients_made_up(monkeypatch, step.network)
        with OnTheDevice() as seen:
            for n in (64, 32):
                step(*batch(parameter_dtype(name), n))
    # a scaled loss asks, in stock, whether its gradients are finite
    assert name == "16-mixed" or not seen.asked


@pytest.mark.parametrize("name", PRECISIONS)
@pytest.mark.parametrize("model", MODELS)
def test_a_step_that_will_be_captured_asks_the_device_nothing(monkeypatch, model, name):
    with cuda_at_hand(name):
        step = step_on_cuda(model, name, ALL_ON_CUDA)
        gradients_made_up(monkeypatch, step.network)
        with OnTheDevice() as seen:
            for _ in range(2):
                step.run(*batch(parameter_dtype(name)))
    assert seen.asked == []


@pytest.mark.parametrize("name", ["float32", "bf16-mixed", "float64"])
@pytest.mark.parametrize("switches", [{}, {"fused_adam": True}])
def test_lightnings_step_keeps_the_hosts_tensors_out_too(monkeypatch, name, switches):
    # initial weights are drawn on the host and loaded before the module is moved
    monkeypatch.setattr(MNISTNetwork, "load", lambda network, weights: None)
    with cuda_at_hand(name):
        network = named_network("cnn")
        # a device made the default for longer would have Adam count its steps there
        with CUDA:
            module = (
                TunedModule(network, 1e-3, 0, switches=switches)
                if switches
                else MNISTModule(network)
            )
        gradients_made_up(monkeypatch, module)
        adam = module.configure_optimizers()
        with OnTheDevice() as seen:
            for n in (64, 32):
                adam.zero_grad()
                with autocast(name, CUDA)():
                    loss = module.training_step(batch(parameter_dtype(name), n), 0)
                loss.backward()
                adam.step()
    assert seen.asked == []


def test_the_guard_sees_a_tensor_of_the_host_and_a_question_to_the_device():
    with FakeTensorMode(allow_non_fake_inputs=True), OnTheDevice() as seen:
        there = torch.ones(3, device=CUDA)
        with pytest.raises(Exception, match=r"mixes|device"):
            there + torch.ones(3)
        there.sum().item()
    assert len(seen.asked) == 1


# of PyTorch's operators with a Metal kernel (https://github.com/pytorch/pytorch/issues/77764),
# those that the step uses
ON_METAL = {
    "view", "_unsafe_view", "t", "detach", "alias", "clone", "copy_", "empty", "empty_like",
    "zeros", "zeros_like", "zero_", "_to_copy", "convolution", "convolution_backward", "ones_like",
    "max_pool2d_with_indices", "max_pool2d_with_indices_backward", "relu", "threshold_backward",
    "addmm", "mm", "bernoulli_", "mul", "mul_", "add", "add_", "sub", "div", "div_", "neg", "sum",
    "argmax", "eq", "sqrt", "addcmul_", "addcdiv_", "lerp_", "_log_softmax", "flatten",
    "_log_softmax_backward_data", "nll_loss_forward", "nll_loss_backward", "expand", "select",
    "slice", "as_strided", "lift_fresh", "_local_scalar_dense", "_reshape_alias", "reshape",
    "scalar_tensor", "transpose",
}  # fmt: skip


class Metal(TorchDispatchMode):
    """Refuses what Metal has not; `profiler` marks run on no device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        assert func.namespace in ("aten", "profiler"), f"{func} has no Metal kernel"
        # PyTorch counts Adam's steps on the host, and its foreach operators fall apart into these
        known = func.namespace == "profiler" or name.removeprefix("_foreach_") in ON_METAL
        assert known, f"aten.{name} is not on the list"
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves((args, kwargs, made)):
            if isinstance(tensor, torch.Tensor):
                assert tensor.dtype != torch.float64, f"{func} touches float64"
        return made


def step_on_cpu(model: str, dtype: torch.dtype = torch.float32) -> TrainStep:
    network = build_network(named_network(model)).to(dtype).train()
    adam = torch.optim.Adam(network.parameters(), lr=1e-3)
    return TrainStep(network, adam, "float32", CPU, images=160)


def images_and_labels(n: int, dtype: torch.dtype = torch.float32):
    generator = torch.Generator().manual_seed(n)
    images = torch.randn(n, 1, 28, 28, generator=generator).to(dtype)
    return images, torch.arange(n) % 10


@pytest.mark.parametrize("model", MODELS)
def test_a_step_uses_nothing_that_metal_lacks(model):
    step = step_on_cpu(model)
    given = [images_and_labels(n) for n in (8, 4)]
    with Metal():
        for images, labels in given:
            step(images, labels)
    assert step.metrics().loss > 0


def test_the_guard_for_metal_refuses_float64():
    step, given = step_on_cpu("mlp", torch.float64), images_and_labels(8, torch.float64)
    with Metal(), pytest.raises(AssertionError, match="touches float64"):
        step(*given)


def test_metal_is_offered_float32_only():
    with pytest.raises(UserError, match="on mps choose from float32"):
        set_precision("float64", torch.device("mps"))


class Recorder:
    """Stands in for CUDA graphs, which need a GPU: a replay does the work again."""

    def __init__(self, refuses: bool = False) -> None:
        self.replayed = 0
        self.refuses = refuses

    def __call__(self, work):
        if self.refuses:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")

        def replay():
            self.replayed += 1
            work()

        return replay


def trained(monkeypatch, recorder: Recorder | None) -> tuple[dict, tuning.GraphedStep | TrainStep]:
    torch.manual_seed(0)
    plain = step_on_cpu("mlp")
    step: tuning.GraphedStep | TrainStep = plain
    if recorder is not None:
        monkeypatch.setattr(tuning, "cuda_capture", recorder)
        step = tuning.GraphedStep(plain, *images_and_labels(64))
    torch.manual_seed(1)
    for n in (64, 64, 32):
        step(*images_and_labels(n))
    return {k: v.clone() for k, v in plain.network.state_dict().items()}, step


def test_replayed_steps_train_as_the_steps_themselves_do(monkeypatch):
    recorder = Recorder()
    expected, plain = trained(monkeypatch, None)
    weights, replayed = trained(monkeypatch, recorder)
    # the last batch is smaller, and made without a graph
    assert recorder.replayed == 2
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert replayed.step.metrics() == plain.metrics()


def replays(monkeypatch) -> Recorder:
    """Have engines replay on the CPU, whose Adam cannot be captured."""
    monkeypatch.setattr(tuning, "possible", lambda *_: {"cuda_graphs": bool})
    for module in (tuning, tuned):
        monkeypatch.setattr(module, "adam_arguments", lambda _: {})
    recorder = Recorder()
    monkeypatch.setattr(tuning, "cuda_capture", recorder)
    return recorder


@pytest.mark.parametrize("engine", ["torch", "lightning"])
def test_an_engine_that_replays_its_steps_trains_and_tells_what_stock_does(
    monkeypatch, mnist_dir, engine
):
    load = workload(first_images(mnist(str(mnist_dir)), 480), epochs=2)
    stock = built(load, engine)
    expected = fitted(stock).history
    recorder = replays(monkeypatch)
    graphed = built(load, engine, cuda_graphs=True)
    graphed.warm_up()
    found = fitted(graphed).history
    assert recorder.replayed == 2 * (480 // 64)
    assert [row.train_loss for row in found] == pytest.approx([row.train_loss for row in expected])
    assert [row.train_accuracy for row in found] == [row.train_accuracy for row in expected]
    assert [row.test_loss for row in found] == [row.test_loss for row in expected]
    weights = graphed.state()
    assert all((array == weights[name]).all() for name, array in stock.state().items())


@pytest.mark.parametrize("engine", ["torch", "lightning"])
def test_an_engine_that_replays_its_steps_trains_as_often_as_a_bench_asks(
    monkeypatch, mnist_dir, engine
):
    load = workload(first_images(mnist(str(mnist_dir)), 128), epochs=1)
    recorder = replays(monkeypatch)
    graphed = built(load, engine, cuda_graphs=True)
    graphed.warm_up()
    for _ in range(3):
        fitted(graphed)
    assert recorder.replayed == 3 * 2


def test_where_nothing_can_be_captured_the_steps_run_one_by_one(monkeypatch, caplog):
    expected, _ = trained(monkeypatch, None)
    weights, _ = trained(monkeypatch, Recorder(refuses=True))
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert "no CUDA graphs: operation not permitted" in caplog.text


@pytest.mark.parametrize(
    ("device", "there", "not_there"),
    [
        (CUDA, {"fused_adam", "cuda_graphs", "compile", "resident_data"}, {"keep_memory"}),
        (torch.device("mps"), {"channels_last", "resident_data"}, {"fused_adam", "cuda_graphs"}),
        (CPU, {"fused_adam", "compile"}, {"cuda_graphs"}),
    ],
)
def test_an_impossible_switch_is_answered_with_those_of_the_device(device, there, not_there):
    possible = tuning.possible(device, world_size=1)
    assert there <= set(possible)
    assert not not_there & set(possible)
    options = EngineOptions(switches={min(not_there): True})
    with pytest.raises(UserError, match=rf"no such switch on {device.type}; there are channels"):
        switched_on(options, "torch", device.type, possible)
