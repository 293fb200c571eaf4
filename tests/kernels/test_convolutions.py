"""Our own convolutions compute what PyTorch's operations compute."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from mnist_gpu.engines.torch.kernels import kernel, network
from tests.kernels.calls import away, draw, forward, layer, loaded, outcome, pooled

LAYERS = {
    "the standard network's": ("conv2", 32, 64, 26, 26),
    "one channel's worth of vectors, odd height": ("conv2", 16, 64, 13, 12),
    "many channels": ("deep", 80, 128, 8, 10),
    "a single window": ("last", 48, 64, 4, 4),
}


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


def test_of_equals_the_first_wins_as_in_pytorch():
    conv = layer("conv2", 16, 64, 6, 6)
    x = kernel.dense(torch.ones(1, 16, 6, 6, dtype=torch.float64))
    found = forward(pooled(conv), x, draw(64, 16, 3, 3), draw(64))
    output, winners = found["output"], found["winners"]
    assert (winners[output > 0] == 0).all()
    assert (winners[output == 0] > 3).all()
    assert 0 < (output > 0).double().mean() < 1


def test_the_same_comes_out_every_time():
    conv = layer(*LAYERS["the standard network's"])
    made = pooled(conv, torch.float32)
    x, weight = draw(64, 32, 26, 26, dtype=torch.float32), draw(64, 32, 3, 3, dtype=torch.float32)
    bias, gradient = weight[:, 0, 0, 0].clone(), draw(64, 64, 12, 12, dtype=torch.float32)

    twice = (outcome(made, x, weight, bias, gradient) for _ in range(2))
    for one, other in zip(*twice, strict=True):
        assert torch.equal(one, other)
