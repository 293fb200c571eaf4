"""The fast training pass is plain PyTorch's mathematics, step by step."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mnist_gpu import data
from mnist_gpu.config.compose import check, compose_config
from mnist_gpu.engines.torch import dropout
from mnist_gpu.engines.torch.program import Program
from mnist_gpu.engines.torch.tuning import KERNELS
from mnist_gpu.errors import UserError
from mnist_gpu.protocol.initial import initial_weights
from mnist_gpu.protocol.network import Network
from mnist_gpu.protocol.streams import dropout_seed
from mnist_gpu.protocol.workload import Workload

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def dataset(mnist_dir):
    return data.load({"source": "mnist", "dir": str(mnist_dir)})


def workload(dataset, model: str, precision: str = "float64", dropout: bool = False) -> Workload:
    settings = check(compose_config([f"model={model}"]))
    network = Network.from_config(model, settings.model.layers, dropout)
    return Workload(network, dataset, initial_weights(network, 0), precision=precision)


class PlainNetwork(nn.Module):
    """The layer list in the order of the protocol, with nothing clever about it."""

    def __init__(self, load: Workload) -> None:
        super().__init__()
        self.list = load.network.layers
        self.masks = torch.Generator().manual_seed(dropout_seed(load.seed, 1))
        for layer in self.list:
            if layer.kind == "conv":
                channels = layer.input_shape[0]
                conv = nn.Conv2d(channels, layer.filters, layer.kernel, padding=layer.padding)
                self.add_module(layer.name, conv)
            if layer.kind == "linear":
                self.add_module(layer.name, nn.Linear(layer.input_shape[0], layer.units))
        self.double()
        self.load_state_dict(
            {name: torch.from_numpy(array) for name, array in load.initial_weights.items()}
        )

    def forward(self, x):
        for layer in self.list:
            match layer.kind:
                case "conv" | "linear":
                    x = self.get_submodule(layer.name)(x)
                case "relu":
                    x = F.relu(x)
                case "max_pool":
                    x = F.max_pool2d(x, layer.size)
                case "flatten":
                    x = x.flatten(1)
                case "dropout" if self.training:
                    # drawn in the order in which the engine keeps images in memory
                    form = torch.channels_last if x.dim() == 4 else torch.contiguous_format
                    like = torch.empty_like(x, memory_format=form)
                    x = x * dropout.keep_mask(like, layer.rate, self.masks)
        return x


def plain_losses(load: Workload, steps: int) -> tuple[list[float], PlainNetwork]:
    network = PlainNetwork(load)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, eps=1e-8)
    images = torch.from_numpy(load.dataset.train_images[:, None].astype(np.float64) / 255)
    images = (images - 0.1307) / 0.3081
    labels = torch.from_numpy(load.dataset.train_labels.astype(np.int64))
    losses = []
    for batch in torch.from_numpy(load.order(1)).split(64)[:steps]:
        optimizer.zero_grad()
        loss = F.cross_entropy(network(images[batch]), labels[batch])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, network


def fast_losses(program: Program, load: Workload, steps: int) -> list[float]:
    losses = []
    for batch in torch.from_numpy(load.order(1)).split(64)[:steps]:
        program.run_steps(batch)
        losses.append(program.take_metrics().loss)
    return losses


@pytest.mark.parametrize(("model", "steps"), [("cnn", 100), ("mlp", 100), ("lenet5", 100)])
def test_every_loss_of_the_first_100_steps_is_plain_pytorchs(dataset, model, steps):
    load = workload(dataset, model)
    program = Program(load, {}, CPU)
    program.warm_up()
    expected, network = plain_losses(load, steps)
    assert fast_losses(program, load, steps) == pytest.approx(expected, rel=1e-9)
    state = program.state()
    for name, parameter in network.named_parameters():
        reached = state[f"weights/{name}"]
        assert np.abs(reached - parameter.detach().numpy()).max() < 1e-9


@pytest.mark.parametrize(
    "switch",
    [
        "relu_after_pool",
        "fused_adam",
        *KERNELS,
        "onednn_linear",
    ],
)
def test_each_measure_can_be_turned_off_and_changes_no_loss(dataset, switch):
    load = workload(dataset, "cnn")
    program = Program(load, {"tuning": {switch: False}}, CPU)
    assert program.facts().tuning[switch] is False
    expected, _ = plain_losses(load, 5)
    assert fast_losses(program, load, 5) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("model", ["cnn", "mlp"])
def test_with_dropout_too_every_loss_is_plain_pytorchs_with_the_same_masks(dataset, model):
    load = workload(dataset, model, dropout=True)
    program = Program(load, {}, CPU)
    program.begin_epoch(1)
    expected, plain = plain_losses(load, 10)
    assert fast_losses(program, load, 10) == pytest.approx(expected, rel=1e-9)
    assert not torch.equal(plain.masks.get_state(), PlainNetwork(load).masks.get_state())


def test_dropout_makes_the_same_zeros_with_our_own_kernel_and_without(dataset):
    load = workload(dataset, "cnn", dropout=True)
    losses = []
    for used in (True, False):
        program = Program(load, {"tuning": {"pooled_convolution": used}}, CPU)
        assert program.facts().tuning["pooled_convolution"] is used
        program.begin_epoch(1)
        losses.append(fast_losses(program, load, 5))
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)


def test_an_evaluation_on_our_own_kernel_is_the_plain_networks(dataset):
    load = workload(dataset, "cnn", precision="float64", dropout=True)
    program = Program(load, {}, CPU)
    images = program.test_images[:700]
    with torch.no_grad():
        expected = PlainNetwork(load).eval()(images)
    assert torch.allclose(program.logits(images), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("model", "used"), [("cnn", KERNELS), ("mlp", ("output_layers",))])
def test_the_record_says_which_kernels_a_network_used(dataset, model, used):
    tuning = Program(workload(dataset, model), {}, CPU).facts().tuning
    assert [name for name in KERNELS if tuning[name]] == list(used)


WITHOUT_RELU = [
    {"kind": "flatten"},
    {"kind": "linear", "name": "fc1", "units": 128},
    {"kind": "linear", "name": "fc2", "units": 128},
    {"kind": "dropout", "rate": 0.5},
    {"kind": "linear", "name": "fc3", "units": 10},
]


def test_without_a_relu_before_it_a_layer_passes_gradients_to_its_zeros_too(dataset):
    network = Network.from_config("linear", WITHOUT_RELU)
    load = Workload(network, dataset, initial_weights(network, 0), precision="float64")
    program = Program(load, {}, CPU)
    assert not any(program.facts().tuning[name] for name in KERNELS)
    program.begin_epoch(1)
    expected, _ = plain_losses(load, 5)
    assert fast_losses(program, load, 5) == pytest.approx(expected, rel=1e-9)


def test_an_unknown_measure_is_refused_by_name(dataset):
    with pytest.raises(UserError, match="overclock"):
        Program(workload(dataset, "mlp"), {"tuning": {"overclock": True}}, CPU)


def test_a_precision_the_device_cannot_do_is_answered_with_those_it_can(dataset):
    with pytest.raises(UserError, match="on cpu choose from float32"):
        Program(workload(dataset, "mlp", precision="tf32"), {}, CPU)


def test_the_first_float32_gradients_are_plain_pytorchs(dataset):
    load = workload(dataset, "cnn", precision="float32")
    program = Program(load, {}, CPU)
    batch = torch.from_numpy(load.order(1)[:64])
    program.run_steps(batch)
    network = PlainNetwork(load)
    images = torch.from_numpy(load.dataset.train_images[batch.numpy(), None] / 255.0)
    labels = torch.from_numpy(load.dataset.train_labels[batch.numpy()].astype(np.int64))
    F.cross_entropy(network((images - 0.1307) / 0.3081), labels).backward()
    for name, parameter in program.network.named_parameters():
        reached = program.network.to_neutral(name, parameter.grad)
        expected = network.get_parameter(name).grad.numpy()
        assert np.linalg.norm(reached - expected) < 1e-5 * np.linalg.norm(expected)


def test_warm_up_leaves_weights_optimizer_and_random_state_as_they_were(dataset):
    load = workload(dataset, "mlp", precision="float32", dropout=True)
    cold, warm = Program(load, {}, CPU), Program(load, {}, CPU)
    warm.warm_up()
    for program in (cold, warm):
        program.begin_epoch(1)
    assert fast_losses(cold, load, 3) == fast_losses(warm, load, 3)


@pytest.mark.parametrize("model", ["cnn", "mlp"])
def test_bf16_learns_like_float32(dataset, model):
    load = workload(dataset, model, precision="bf16-mixed")
    program = Program(load, {}, CPU)
    wide = Program(workload(dataset, model, precision="float32"), {}, CPU)
    narrow_losses, wide_losses = fast_losses(program, load, 20), fast_losses(wide, load, 20)
    assert np.mean(narrow_losses[-5:]) == pytest.approx(np.mean(wide_losses[-5:]), rel=0.15)
    assert narrow_losses != wide_losses
    assert program.state()["weights/fc1.weight"].dtype == np.float32


@pytest.mark.parametrize(("rate", "digits"), [(0.25, 2), (0.5, 1), (0.375, 3), (3 / 256, 8)])
def test_a_rate_in_few_bits_drops_exactly_its_share_of_all_bits_there_are(rate, digits):
    every = np.arange(2**digits)
    random = [torch.from_numpy(every >> place & 1) for place in range(digits)]
    kept = dropout.join(random, dropout.digits(rate))
    assert (kept == 0).double().mean() == rate


@pytest.mark.parametrize("rate", [0.2, 0.1, 1 / 3])
def test_any_other_rate_is_a_whole_number_of_63_bit_words(rate):
    assert dropout.threshold(rate) / 2**63 == rate


@pytest.mark.parametrize("rate", [0.25, 0.5, 0.2])
def test_masks_drop_and_scale_as_declared(rate):
    generator = torch.Generator().manual_seed(1)
    like = torch.empty(64, 64, 12, 12).contiguous(memory_format=torch.channels_last)
    masks = [dropout.keep_mask(like, rate, generator) for _ in range(8)]
    kept = torch.stack([mask != 0 for mask in masks]).double()
    n = kept.numel()
    assert abs(kept.mean().item() - (1 - rate)) < 5 * (rate * (1 - rate) / n) ** 0.5
    values = torch.unique(torch.cat(masks)).tolist()
    assert values == pytest.approx([0.0, 1 / (1 - rate)])
    # neighbours are independent: a byte of one word says nothing of the next
    together = (kept[:, :, :-1] * kept[:, :, 1:]).mean().item()
    assert together == pytest.approx((1 - rate) ** 2, abs=0.005)
    assert not torch.equal(masks[0], masks[1])
