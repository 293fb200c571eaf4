"""Our own kernels compute what PyTorch's operations compute, or are not used.

Needs gcc: tests/system_packages.sh installs it where it can.
"""

import ctypes
import logging
import math
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from mnist_gpu.engines.torch.kernels import compiler, kernel, network
from mnist_gpu.protocol.network import Layer

AFTER = {
    "first_convolution": (Layer("relu"),),
    "pooled_convolution": (Layer("max_pool", size=2), Layer("relu")),
    "sparse_linear": (),
}
LAYERS = {
    "the standard network's": ("conv2", 32, 64, 26, 26),
    "one channel's worth of vectors, odd height": ("conv2", 16, 64, 13, 12),
    "many channels": ("deep", 80, 128, 8, 10),
    "a single window": ("last", 48, 64, 4, 4),
}


@pytest.fixture(autouse=True, scope="module")
def gcc():
    script = Path(__file__).parent / "system_packages.sh"
    done = subprocess.run(
        ["bash", str(script), "compiler"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def afresh(monkeypatch, tmp_path):
    """No kernel found yet and none kept."""
    kernel.get_kernel.cache_clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    yield tmp_path / "mnist_gpu" / "kernels"
    kernel.get_kernel.cache_clear()


def layer(name: str, channels: int, filters: int, height: int, width: int) -> Layer:
    shape = (channels, height, width)
    return Layer("conv", name, filters=filters, kernel=3, input_shape=shape)


def draw(*shape: int, dtype=torch.float64) -> torch.Tensor:
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype)
    return kernel.dense(drawn)


def loaded(name: str, layer: Layer, dtype=torch.float64, bfloat16=False) -> kernel.Kernel | None:
    return kernel.get_kernel(name, (layer, *AFTER[name]), dtype, bfloat16)


def pooled(conv: Layer, dtype=torch.float64, bfloat16=False) -> kernel.Kernel | None:
    return loaded("pooled_convolution", conv, dtype, bfloat16)


def outcome(made: kernel.Kernel, x, weight, bias, gradient, keep=None, scale=1.0):
    """The output, and the gradients that there are of x, weight and bias."""
    given = [tensor.detach().requires_grad_() for tensor in (x, weight, bias)]
    output = kernel.KernelFunction.apply(made, *given, keep, scale)
    found = torch.autograd.grad(output, given, gradient, allow_unused=True)
    return output, *(one for one in found if one is not None)


def drop(gradient: torch.Tensor, rate: float) -> tuple[torch.Tensor | None, torch.Tensor]:
    """Bits for the kernel, and the mask that they stand for."""
    if not rate:
        return None, torch.ones_like(gradient)
    torch.manual_seed(3)
    keep = network.keep_bits(gradient.numel(), rate)
    # in memory order, the lowest bit of a byte first
    bits = (keep.unsqueeze(1) >> torch.arange(8) & 1).view(-1)[: gradient.numel()]
    mask = bits.to(gradient.dtype) / (1 - rate)
    return keep, mask.as_strided(gradient.shape, gradient.stride())


def away(found, wanted) -> list[float]:
    """How far each is from what it should be, by the largest of its numbers."""
    return [
        ((one - other).abs().max() / other.abs().max()).item()
        for one, other in zip(found, wanted, strict=True)
    ]


@pytest.mark.parametrize(
    ("name", "rate", "dtype", "bound"),
    [
        *((name, rate, torch.float64, 1e-13) for name in LAYERS for rate in (0, 0.25)),
        ("the standard network's", 0.25, torch.float32, 1e-5),
    ],
)
def test_output_and_gradients_are_those_of_convolution_pool_relu_and_dropout(
    name, rate, dtype, bound
):
    conv = layer(*LAYERS[name])
    made = pooled(conv, dtype)
    x = draw(5, *conv.input_shape)
    weight, bias = draw(conv.filters, conv.input_shape[0], 3, 3), draw(conv.filters)
    gradient = draw(5, *made.output_shape)
    kept, mask = drop(gradient, rate)
    cast = [tensor.to(dtype) for tensor in (x, weight, bias, gradient)]
    found = outcome(made, *cast, kept, 1 / (1 - rate))

    given = [tensor.requires_grad_() for tensor in (x, weight, bias)]
    expected = torch.relu(F.max_pool2d(F.conv2d(x, weight, bias), 2)) * mask
    wanted = torch.autograd.grad(expected, given, gradient)
    assert max(away(found, (expected, *wanted))) < bound


@pytest.mark.parametrize(("filters", "height", "width"), [(32, 28, 28), (16, 5, 3), (80, 3, 12)])
def test_the_first_convolution_and_its_gradients_are_those_of_convolution_and_relu(
    filters, height, width
):
    conv = layer("conv1", 1, filters, height, width)
    made = loaded("first_convolution", conv)
    x, weight, bias = draw(5, 1, height, width), draw(filters, 1, 3, 3), draw(filters)
    gradient = draw(5, *made.output_shape)
    found = outcome(made, x, weight, bias, gradient)
    given = [tensor.requires_grad_() for tensor in (weight, bias)]
    expected = torch.relu(F.conv2d(x, weight, bias))
    wanted = torch.autograd.grad(expected, given, gradient)
    assert max(away(found, (expected, *wanted))) < 1e-13


@pytest.mark.parametrize("channels", [32, 64])
def test_images_and_products_of_bfloat16_are_near_and_sums_are_float32(channels):
    conv = layer("conv2", channels, 64, 26, 26)
    made = pooled(conv, torch.float32, bfloat16=True)
    if made.narrow_dtype != torch.bfloat16:
        assert "avx512_bf16" not in Path("/proc/cpuinfo").read_text()
        pytest.skip("this processor has no products of bfloat16")
    # odd numbers of gradients too: all but a third are dropped or not positive
    x, weight, bias = draw(5, channels, 26, 26).bfloat16(), draw(64, channels, 3, 3), draw(64)
    gradient = draw(5, *made.output_shape).bfloat16()
    kept, mask = drop(gradient.double(), 0.25)
    output, *found = outcome(made, x, weight.float(), bias.float(), gradient, kept, 4 / 3)
    assert output.dtype == torch.bfloat16
    assert [one.dtype for one in found] == [torch.bfloat16, torch.float32, torch.float32]

    wide = x.double()
    expected = torch.relu(F.max_pool2d(F.conv2d(wide, weight, bias), 2)) * mask
    assert 1e-4 < away([output], [expected])[0] < 1e-2
    # backward by the windows' winners that forward found: rounding changes a few
    winners = forward(made, x, weight.float(), bias.float(), kept, 4 / 3)["winners"]
    wanted = gradients_by_winner(wide, weight, gradient.double() * mask, winners)
    to_x, to_weight, to_bias = away(found, wanted)
    assert 1e-4 < to_x < 4e-3
    assert 1e-4 < to_weight < 1e-2
    assert to_bias < 1e-5


def forward(made: kernel.Kernel, x, weight, bias, keep=None, scale=1.0) -> dict:
    """All that C's forward takes and writes, by name."""
    given = {"x": x, "weight": weight, "bias": bias, "keep": keep}
    return made.call("forward", {**given, "scale": ctypes.c_double(scale)})


def gradients_by_winner(x, weight, gradient, winners):
    """Of the input, the weights and the bias, each window's gradient at the place that won."""
    full = torch.zeros(len(x), len(weight), x.shape[2] - 2, x.shape[3] - 2, dtype=x.dtype)
    for place in range(4):
        full[:, :, place // 2 :: 2, place % 2 :: 2] = gradient * (winners == place)
    to_x = torch.nn.grad.conv2d_input(x.shape, weight, full)
    return to_x, torch.nn.grad.conv2d_weight(x, weight.shape, full), full.sum((0, 2, 3))


def test_a_first_convolution_writes_bfloat16_where_it_may():
    made = loaded("first_convolution", layer("conv1", 1, 32, 28, 28), torch.float32, True)
    if made.narrow_dtype != torch.bfloat16:
        pytest.skip("this processor has no products of bfloat16")
    x, weight, bias = draw(5, 1, 28, 28).float(), draw(32, 1, 3, 3).float(), draw(32).float()
    gradient = draw(5, *made.output_shape).bfloat16()
    output, *found = outcome(made, x, weight, bias, gradient)
    exact = torch.relu(F.conv2d(x.double(), weight.double(), bias.double()))
    assert output.dtype == torch.bfloat16
    assert 1e-4 < away([output], [exact])[0] < 1e-2
    passed = (gradient * (output > 0)).double()
    wanted = torch.nn.grad.conv2d_weight(x.double(), weight.shape, passed), passed.sum((0, 2, 3))
    assert max(away(found, wanted)) < 1e-5


def rectified(images: int, features: int) -> torch.Tensor:
    """Half are zeros; of some features all are, of others none."""
    drawn = torch.relu(draw(images, features))
    drawn[:, ::7], drawn[:, 1::7] = 0, 1
    return drawn


SPARSE = [(9216, 128), (64, 256), (192, 128)]


@pytest.mark.parametrize("images", [1, 2, 7, 64, 131])
@pytest.mark.parametrize(("features", "units"), SPARSE)
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-13), (torch.float32, 1e-5)])
def test_a_layer_after_a_relu_is_computed_without_its_zeros(features, units, images, dtype, bound):
    linear = Layer("linear", "fc1", units=units, input_shape=(features,))
    assert kernel.supports("sparse_linear", [linear], [Layer("relu")], dtype)
    made = loaded("sparse_linear", linear, dtype)
    x, weight, bias = rectified(images, features), draw(features, units), draw(units)
    gradient = draw(images, units)
    found = outcome(made, *(tensor.to(dtype) for tensor in (x, weight, bias, gradient)))
    to_x = (gradient @ weight.t()) * (x > 0)
    wanted = x @ weight + bias, to_x, x.t() @ gradient, gradient.sum(0)
    assert max(away(found, wanted)) < bound


@pytest.mark.parametrize("images", [1, 2, 7, 131])
@pytest.mark.parametrize(("features", "units"), SPARSE)
def test_such_a_layer_of_bfloat16_sums_in_float32(features, units, images):
    linear = Layer("linear", "fc1", units=units, input_shape=(features,))
    made = loaded("sparse_linear", linear, torch.float32, bfloat16=True)
    if made.narrow_dtype != torch.bfloat16:
        pytest.skip("this processor has no products of bfloat16")
    x, weight = rectified(images, features).bfloat16(), draw(features, units).float()
    bias, gradient = draw(units).float(), draw(images, units).float()
    found = outcome(made, x, weight, bias, gradient)[:3]
    assert [one.dtype for one in found] == [torch.float32, torch.bfloat16, torch.float32]
    x, weight, gradient = (t.bfloat16().double() for t in (x, weight, gradient))
    wanted = x @ weight + bias, (gradient @ weight.t()) * (x > 0), x.t() @ gradient
    output, to_x, to_weight = away(found, wanted)
    assert max(output, to_weight) < 1e-5
    assert to_x < 4e-3


def test_layers_of_other_kinds_and_sizes_are_left_to_pytorch():
    def supported(layer: Layer, before: Layer, dtype=torch.float32) -> list[str]:
        return [
            name
            for name, after in AFTER.items()
            if kernel.supports(name, [layer, *after], [before], dtype)
        ]

    def linear(features: int, units: int) -> Layer:
        return Layer("linear", "fc", units=units, input_shape=(features,))

    relu, conv = Layer("relu"), layer("conv1", 1, 16, 6, 6)
    assert supported(linear(128, 128), relu) == ["sparse_linear"]
    assert supported(linear(128, 128), relu, torch.float16) == []
    assert supported(linear(128, 128), Layer("dropout")) == []
    assert supported(linear(100, 128), relu) == supported(linear(128, 100), relu) == []
    assert supported(conv, relu) == ["first_convolution"]
    # of another layer's output there would be a gradient
    assert supported(conv, conv) == supported(replace(conv, padding=1), relu) == []
    assert supported(layer("conv2", 16, 64, 6, 6), conv) == ["pooled_convolution"]
    assert supported(layer("conv2", 8, 64, 6, 6), conv) == []
    assert supported(layer("conv2", 16, 32, 6, 6), conv) == []


def test_of_equals_the_first_wins_as_in_pytorch():
    conv = layer("conv2", 16, 64, 6, 6)
    x = kernel.dense(torch.ones(1, 16, 6, 6, dtype=torch.float64))
    found = forward(pooled(conv), x, draw(64, 16, 3, 3), draw(64))
    output, winners = found["output"], found["winners"]
    assert (winners[output > 0] == 0).all()
    assert (winners[output == 0] > 3).all()
    assert 0 < (output > 0).double().mean() < 1


def test_a_network_that_diverges_shows_it():
    linear = Layer("linear", "fc1", units=64, input_shape=(64,))
    for made, x, weight in (
        (loaded("first_convolution", layer("c1", 1, 16, 6, 6)), (1, 1, 6, 6), (16, 1, 3, 3)),
        (pooled(layer("c2", 16, 64, 6, 6)), (1, 16, 6, 6), (64, 16, 3, 3)),
        (loaded("sparse_linear", linear), (2, 64), (64, 64)),
    ):
        for given in ((draw(*x) * math.nan, draw(*weight)), (draw(*x), draw(*weight) * math.nan)):
            assert forward(made, *given, draw(made.output_shape[0]))["output"].isnan().all()


def test_the_same_comes_out_every_time():
    conv = layer(*LAYERS["the standard network's"])
    made = pooled(conv, torch.float32)
    x, weight = draw(64, 32, 26, 26, dtype=torch.float32), draw(64, 32, 3, 3, dtype=torch.float32)
    bias, gradient = weight[:, 0, 0, 0].clone(), draw(64, 64, 12, 12, dtype=torch.float32)

    twice = (outcome(made, x, weight, bias, gradient) for _ in range(2))
    for one, other in zip(*twice, strict=True):
        assert torch.equal(one, other)


def test_without_a_compiler_there_is_none_and_one_line_says_why(afresh, monkeypatch, caplog):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CC", raising=False)
    conv = layer("conv2", 16, 64, 6, 6)
    with caplog.at_level(logging.WARNING):
        assert pooled(conv, torch.float32) is None
        assert pooled(conv, torch.float32) is None
    [record] = caplog.records
    assert record.getMessage().startswith("conv2: our own kernel is not used: there is no C comp")


def test_a_compiler_that_fails_is_quoted(afresh, monkeypatch, caplog):
    monkeypatch.setattr(kernel, "TYPES", {torch.float32: ("flaot", "int32_t")})
    assert pooled(layer("conv2", 16, 64, 6, 6), torch.float32) is None
    assert "flaot" in caplog.text
    assert list(afresh.iterdir()) == []


def test_a_kernel_that_computes_something_else_is_not_trusted(
    afresh, monkeypatch, tmp_path, caplog
):
    wrong = shutil.copytree(kernel.FOLDER, tmp_path / "wrong")
    header = wrong / "winograd.h"
    right = header.read_text()
    header.write_text(right.replace("{h0 - h2, h1 + h2, h2 - h1, h1 - h3}", "{h0, h1, h2, h3}"))
    assert header.read_text() != right
    monkeypatch.setattr(kernel, "FOLDER", wrong)
    assert pooled(layer("conv2", 16, 64, 6, 6), torch.float32) is None
    assert "does not compute what PyTorch computes" in caplog.text


def test_a_kernel_is_compiled_once_and_kept(afresh, monkeypatch):
    conv = layer("conv2", 16, 64, 6, 6)
    assert pooled(conv, torch.float32) is not None
    [kept] = afresh.iterdir()
    kernel.get_kernel.cache_clear()

    def never(*_):
        raise AssertionError("compiled again")

    monkeypatch.setattr(compiler, "_compile", never)
    assert pooled(conv, torch.float32) is not None
    assert [kept] == list(afresh.iterdir())


def test_a_kept_file_that_others_may_write_is_not_loaded(afresh):
    conv = layer("conv2", 16, 64, 6, 6)
    assert pooled(conv, torch.float32) is not None
    [kept] = afresh.iterdir()
    before = kept.stat().st_ino
    kept.chmod(0o777)
    kernel.get_kernel.cache_clear()
    assert pooled(conv, torch.float32) is not None
    [kept] = afresh.iterdir()
    assert kept.stat().st_ino != before
    assert not kept.stat().st_mode & 0o022


def test_other_sizes_and_another_compiler_get_kernels_of_their_own(afresh, monkeypatch):
    for conv in (layer("a", 16, 64, 6, 6), layer("b", 16, 64, 8, 6)):
        assert pooled(conv, torch.float32) is not None
    monkeypatch.setenv("CC", "gcc -g0")
    kernel.get_kernel.cache_clear()
    assert pooled(layer("a", 16, 64, 6, 6), torch.float32) is not None
    assert len(list(afresh.iterdir())) == 3


def test_a_cache_that_cannot_be_written_costs_nothing(afresh, monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    assert pooled(layer("conv2", 16, 64, 6, 6), torch.float32) is not None


def test_a_kept_file_that_is_damaged_is_no_error(afresh, caplog):
    conv = layer("conv2", 16, 64, 6, 6)
    assert pooled(conv, torch.float32) is not None
    [kept] = afresh.iterdir()
    # a new file: the old one is mapped into this process
    os.unlink(kept)
    kept.write_bytes(b"half a file")
    kernel.get_kernel.cache_clear()
    assert pooled(conv, torch.float32) is not None
