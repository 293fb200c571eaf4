"""Our own kernels compute what PyTorch's operations compute, or are not used.

Needs gcc: tests/system_packages.sh installs it where it can.
"""

import logging
import os
import subprocess
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from mnist_gpu.engines.torch.native import (
    bfloat16_linear,
    compiler,
    first_convolution,
    kernel,
    pooled_convolution,
)
from mnist_gpu.models.network import Layer

CHANNELS_LAST = torch.channels_last
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
    pooled_convolution.find.cache_clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    yield tmp_path / "mnist_gpu" / "kernels"
    pooled_convolution.find.cache_clear()


def layer(name: str, channels: int, filters: int, height: int, width: int) -> Layer:
    shape = (channels, height, width)
    return Layer("conv", name, filters=filters, kernel=3, input_shape=shape)


def draw(*shape: int, dtype=torch.float64) -> torch.Tensor:
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype)
    return drawn.contiguous(memory_format=CHANNELS_LAST) if len(shape) == 4 else drawn


def kernel_of(conv: Layer, dtype=torch.float64) -> pooled_convolution.PooledConvolution:
    made = pooled_convolution.find(conv, dtype)
    assert made is not None
    return made


@pytest.mark.parametrize("dropped", [0, 64])
@pytest.mark.parametrize("sizes", LAYERS.values(), ids=LAYERS)
def test_output_and_gradients_are_those_of_convolution_pool_relu_and_dropout(sizes, dropped):
    conv = layer(*sizes)
    made = kernel_of(conv)
    x = draw(5, *conv.input_shape)
    weight, bias = draw(conv.filters, conv.input_shape[0], 3, 3), draw(conv.filters)
    gradient = draw(5, *made.output_shape)
    random = torch.randint(256, gradient.shape, dtype=torch.uint8)
    random = random.contiguous(memory_format=CHANNELS_LAST)
    pooled, winners = made.forward(x, weight, bias, random, dropped)
    found = made.backward(x, weight, gradient, pooled, winners, dropped)

    given = [tensor.requires_grad_() for tensor in (x, weight, bias)]
    mask = (random >= dropped).double() / (1 - dropped / 256)
    expected = torch.relu(F.max_pool2d(F.conv2d(x, weight, bias), 2)) * mask
    wanted = torch.autograd.grad(expected, given, gradient)
    for reached, right in zip((pooled, *found), (expected, *wanted), strict=True):
        assert (reached - right).abs().max() < 1e-13 * right.abs().max()


@pytest.mark.parametrize(("filters", "height", "width"), [(32, 28, 28), (16, 5, 3), (80, 3, 12)])
def test_the_first_convolution_and_its_gradients_are_those_of_convolution_and_relu(
    filters, height, width
):
    conv = layer("conv1", 1, filters, height, width)
    made = first_convolution.find(conv, torch.float64)
    assert made is not None
    x, weight, bias = draw(5, 1, height, width), draw(filters, 1, 3, 3), draw(filters)
    gradient = draw(5, *made.output_shape)
    output = made.forward(x, weight, bias)
    found = made.backward(x, weight, output, gradient)
    given = [tensor.requires_grad_() for tensor in (weight, bias)]
    expected = torch.relu(F.conv2d(x, weight, bias))
    wanted = torch.autograd.grad(expected, given, gradient)
    for reached, right in zip((output, *found), (expected, *wanted), strict=True):
        assert (reached - right).abs().max() < 1e-13 * right.abs().max()


def test_products_of_bfloat16_are_near_and_their_sums_are_float32():
    conv = layer(*LAYERS["the standard network's"])
    made = pooled_convolution.find(conv, torch.float32, bfloat16=True)
    assert made is not None
    x, weight, bias = draw(5, 32, 26, 26), draw(64, 32, 3, 3), draw(64)
    pooled, _ = made.forward(x.float(), weight.float(), bias.float(), None, 0)
    expected = torch.relu(F.max_pool2d(F.conv2d(x, weight, bias), 2))
    away = ((pooled - expected).abs().max() / expected.abs().max()).item()
    if "avx512_bf16" in Path("/proc/cpuinfo").read_text():
        assert 1e-4 < away < 1e-2
    else:
        assert away < 1e-5


@pytest.mark.parametrize("images", [1, 2, 7, 64])
@pytest.mark.parametrize(("features", "units"), [(9216, 128), (1024, 4), (64, 20)])
def test_a_fully_connected_layer_of_bfloat16_sums_in_float32(features, units, images):
    linear = Layer("linear", "fc1", units=units, input_shape=(features,))
    if not bfloat16_linear.suits(linear):
        pytest.skip("this processor has no products of bfloat16")
    made = bfloat16_linear.find(linear)
    assert made is not None
    x, weight, bias = (
        draw(*shape, dtype=torch.float32)
        for shape in ((images, features), (units, features), (units,))
    )
    gradient = draw(images, units, dtype=torch.float32)
    rounded = x.bfloat16()
    found = made.forward(rounded, weight, bias), *made.backward(rounded, weight, gradient)
    x, weight, gradient = (t.bfloat16().double() for t in (x, weight, gradient))
    wanted = x @ weight.t() + bias, gradient @ weight, gradient.t() @ x
    for reached, right in zip(found, wanted, strict=True):
        assert (reached - right).abs().max() < 1e-5 * right.abs().max()


def test_of_equals_the_first_wins_as_in_pytorch():
    conv = layer("conv2", 16, 64, 6, 6)
    made = kernel_of(conv)
    x = torch.ones(1, 16, 6, 6, dtype=torch.float64).contiguous(memory_format=CHANNELS_LAST)
    _, winners = made.forward(x, draw(64, 16, 3, 3), draw(64), None, 0)
    assert (winners == 0).all()


def test_a_network_that_diverges_shows_it():
    first = first_convolution.find(layer("conv1", 1, 16, 6, 6), torch.float64)
    nothing = torch.full((16, 1, 3, 3), float("nan"), dtype=torch.float64)
    assert first.forward(draw(1, 1, 6, 6), nothing, draw(16)).isnan().all()
    made = kernel_of(layer("conv2", 16, 64, 6, 6))
    weight = draw(64, 16, 3, 3).fill_(float("nan"))
    pooled, _ = made.forward(draw(1, 16, 6, 6), weight, draw(64), None, 0)
    assert pooled.isnan().all()


def test_the_same_comes_out_every_time():
    conv = layer(*LAYERS["the standard network's"])
    made = kernel_of(conv, torch.float32)
    x, weight = draw(64, 32, 26, 26, dtype=torch.float32), draw(64, 32, 3, 3, dtype=torch.float32)
    bias, gradient = weight[:, 0, 0, 0].clone(), draw(64, 64, 12, 12, dtype=torch.float32)

    def once():
        pooled, winners = made.forward(x, weight, bias, None, 0)
        return pooled, *made.backward(x, weight, gradient, pooled, winners, 0)

    for one, other in zip(once(), once(), strict=True):
        assert torch.equal(one, other)


def test_without_a_compiler_there_is_none_and_one_line_says_why(afresh, monkeypatch, caplog):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CC", raising=False)
    conv = layer("conv2", 16, 64, 6, 6)
    with caplog.at_level(logging.WARNING):
        assert pooled_convolution.find(conv, torch.float32) is None
        assert pooled_convolution.find(conv, torch.float32) is None
    [record] = caplog.records
    assert record.getMessage().startswith("conv2: our own kernel is not used: there is no C comp")


def test_a_compiler_that_fails_is_quoted(afresh, monkeypatch, caplog):
    monkeypatch.setattr(kernel, "TYPES", {torch.float32: ("flaot", "int32_t")})
    assert pooled_convolution.find(layer("conv2", 16, 64, 6, 6), torch.float32) is None
    assert "flaot" in caplog.text
    assert list(afresh.iterdir()) == []


def test_a_kernel_that_computes_something_else_is_not_trusted(
    afresh, monkeypatch, tmp_path, caplog
):
    source = pooled_convolution.SOURCE.read_text().replace(
        "half[3][j] = d1 - d3", "half[3][j] = d1"
    )
    wrong = tmp_path / "wrong.c"
    wrong.write_text(source)
    for header in pooled_convolution.SOURCE.parent.glob("*.h"):
        (tmp_path / header.name).write_text(header.read_text())
    monkeypatch.setattr(pooled_convolution, "SOURCE", wrong)
    assert pooled_convolution.find(layer("conv2", 16, 64, 6, 6), torch.float32) is None
    assert "does not compute what PyTorch computes" in caplog.text


def test_a_kernel_is_compiled_once_and_kept(afresh, monkeypatch):
    conv = layer("conv2", 16, 64, 6, 6)
    assert pooled_convolution.find(conv, torch.float32) is not None
    [kept] = afresh.iterdir()
    pooled_convolution.find.cache_clear()

    def never(*_):
        raise AssertionError("compiled again")

    monkeypatch.setattr(compiler, "_compile", never)
    assert pooled_convolution.find(conv, torch.float32) is not None
    assert [kept] == list(afresh.iterdir())


def test_a_kept_file_that_others_may_write_is_not_loaded(afresh):
    conv = layer("conv2", 16, 64, 6, 6)
    assert pooled_convolution.find(conv, torch.float32) is not None
    [kept] = afresh.iterdir()
    before = kept.stat().st_ino
    kept.chmod(0o777)
    pooled_convolution.find.cache_clear()
    assert pooled_convolution.find(conv, torch.float32) is not None
    [kept] = afresh.iterdir()
    assert kept.stat().st_ino != before
    assert not kept.stat().st_mode & 0o022


def test_other_sizes_and_another_compiler_get_kernels_of_their_own(afresh, monkeypatch):
    for conv in (layer("a", 16, 64, 6, 6), layer("b", 16, 64, 8, 6)):
        assert pooled_convolution.find(conv, torch.float32) is not None
    monkeypatch.setenv("CC", "gcc -g0")
    pooled_convolution.find.cache_clear()
    assert pooled_convolution.find(layer("a", 16, 64, 6, 6), torch.float32) is not None
    assert len(list(afresh.iterdir())) == 3


def test_a_cache_that_cannot_be_written_costs_nothing(afresh, monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    assert pooled_convolution.find(layer("conv2", 16, 64, 6, 6), torch.float32) is not None


def test_a_kept_file_that_is_damaged_is_no_error(afresh, caplog):
    conv = layer("conv2", 16, 64, 6, 6)
    assert pooled_convolution.find(conv, torch.float32) is not None
    [kept] = afresh.iterdir()
    # a new file: the old one is mapped into this process
    os.unlink(kept)
    kept.write_bytes(b"half a file")
    pooled_convolution.find.cache_clear()
    assert pooled_convolution.find(conv, torch.float32) is not None
