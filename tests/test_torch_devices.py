"""What the torch engine does for devices that are not here: CUDA graphs, float16, Metal."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mnist_gpu import data
from mnist_gpu.config.compose import check, compose_config
from mnist_gpu.engines.torch import graphs, precision
from mnist_gpu.engines.torch.program import Program
from mnist_gpu.engines.torch.tuning import KERNELS
from mnist_gpu.errors import UserError
from mnist_gpu.protocol.initial import initial_weights
from mnist_gpu.protocol.network import Network
from mnist_gpu.protocol.workload import Workload

CPU = torch.device("cpu")
# what `tuning.prepare` decides on Metal
CPU_ONLY = ("keep_memory", "fused_adam", "onednn_linear", "dropout_bits", *KERNELS)
AS_ON_METAL = dict.fromkeys(CPU_ONLY, False)
BLAS = {"tuning": {"onednn_linear": False}}
# of PyTorch's operators with a Metal kernel (https://github.com/pytorch/pytorch/issues/77764),
# those that the step uses
ON_METAL = {
    "index", "slice", "view", "_unsafe_view", "t", "permute", "transpose", "reshape", "detach",
    "alias", "clone", "copy_", "empty", "empty_like", "zero_", "_to_copy", "convolution",
    "convolution_backward", "max_pool2d_with_indices", "max_pool2d_with_indices_backward",
    "relu_", "threshold_backward", "addmm", "mm", "uniform_", "ge", "mul", "mul_", "add", "add_",
    "sub", "div", "div_", "neg", "reciprocal", "sum", "argmax", "eq", "sqrt", "addcmul_",
    "addcdiv_", "lerp_", "_log_softmax", "_log_softmax_backward_data", "nll_loss_forward",
    "nll_loss_backward", "split", "unbind", "expand", "select", "as_strided", "pow",
    "_local_scalar_dense", "_reshape_alias", "item", "is_same_size",
}  # fmt: skip


@pytest.fixture(scope="module")
def dataset(mnist_dir):
    whole = data.load({"source": "mnist", "dir": str(mnist_dir)})
    return replace(
        whole,
        train_images=whole.train_images[:224],
        train_labels=whole.train_labels[:224],
        test_images=whole.test_images[:100],
        test_labels=whole.test_labels[:100],
    )


def workload(dataset, model="mlp", **changes) -> Workload:
    settings = check(compose_config([f"model={model}"]))
    network = Network.from_config(model, settings.model.layers)
    return Workload(network, dataset, initial_weights(network, 0), **changes)


class Metal(TorchDispatchMode):
    """Refuses what Metal has not; `profiler` marks run on no device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        assert func.namespace in ("aten", "profiler"), f"{func} has no Metal kernel"
        # PyTorch counts Adam's steps on the host, and its foreach operators fall apart into these
        known = func.namespace == "profiler" or name.removeprefix("_foreach_") in ON_METAL
        assert known, f"aten.{name} is not on the list"
        made = func(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves((args, kwargs, made)):
            if isinstance(tensor, torch.Tensor):
                assert tensor.dtype != torch.float64, f"{func} touches float64"
        return made


@pytest.mark.parametrize("model", ["cnn", "mlp", "lenet5"])
def test_a_step_uses_nothing_that_metal_lacks(dataset, model):
    program = Program(workload(dataset, model), {"tuning": AS_ON_METAL}, CPU)
    indices = torch.arange(96)
    with Metal():
        program.begin_epoch(1)
        program.run_steps(indices)
    assert np.isfinite(program.take_metrics().loss)


def test_the_guard_for_metal_refuses_float64(dataset):
    program = Program(workload(dataset, precision="float64"), {"tuning": AS_ON_METAL}, CPU)
    indices = torch.arange(64)
    with Metal(), pytest.raises(AssertionError, match="touches float64"):
        program.run_steps(indices)


def test_metal_is_offered_float32_only():
    with pytest.raises(UserError, match="on mps choose from float32"):
        precision.prepare("float64", torch.device("mps"))


class Recorder:
    """Stands in for CUDA graphs, which need a GPU: a replay does the work again."""

    def __init__(self, refuses: bool = False) -> None:
        self.captured = 0
        self.replayed = 0
        self.refuses = refuses

    def __call__(self, work):
        if self.refuses:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        self.captured += 1
        work()

        def replay():
            self.replayed += 1
            work()

        return replay


def trained(dataset, capture) -> tuple[Program, dict]:
    program = Program(workload(dataset, steps_per_execution=2), {}, CPU)
    program._block = graphs.Blocks(program._make_steps, capture)
    program.warm_up()
    program.begin_epoch(1)
    for block in torch.from_numpy(program.workload.order(1)).split(128):
        program.run_steps(block)
    return program, program.state()


def test_replayed_blocks_train_as_the_steps_themselves_do(dataset):
    recorder = Recorder()
    plain, expected = trained(dataset, None)
    replayed, state = trained(dataset, recorder)
    # 224 images: a block of 128 and one of 96, whose last batch is half a batch
    assert (recorder.captured, recorder.replayed) == (2, 2)
    assert {key: np.array_equal(state[key], expected[key]) for key in state} == dict.fromkeys(
        state, True
    )
    assert replayed.take_metrics() == plain.take_metrics()
    assert (plain.facts().compile, replayed.facts().compile) == ("none", "CUDA graphs")


def test_where_nothing_can_be_captured_the_steps_run_one_by_one(dataset, caplog):
    _, expected = trained(dataset, None)
    program, state = trained(dataset, Recorder(refuses=True))
    assert np.array_equal(state["weights/fc1.weight"], expected["weights/fc1.weight"])
    assert program.facts().compile == "none"
    assert "no CUDA graphs: operation not permitted" in caplog.text


@pytest.fixture
def float16_on_cpu(monkeypatch):
    monkeypatch.setitem(precision.POSSIBLE, "cpu", ("float32", "16-mixed"))


def test_a_scaled_float16_loss_trains_like_float32(dataset, float16_on_cpu):
    losses = []
    for name in ("float32", "16-mixed"):
        program = Program(workload(dataset, precision=name), BLAS, CPU)
        program.begin_epoch(1)
        for _ in range(5):
            program.run_steps(torch.arange(224))
        losses.append(program.take_metrics().loss)
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    assert losses[1] != losses[0]


def test_a_step_whose_float16_gradients_overflow_is_left_out(dataset, float16_on_cpu):
    program = Program(workload(dataset, precision="16-mixed"), BLAS, CPU)
    before = program.state()
    program.adam.scale.fill_(2.0**40)
    program.run_steps(torch.arange(64))
    after = program.state()
    assert all(np.array_equal(before[key], after[key]) for key in before)
    assert program.adam.scale.item() == 2.0**39
    program.adam.scale.fill_(2.0**10)
    program.run_steps(torch.arange(64))
    assert int(program.state()["adam_step"]) == 1
