"""Our own fully connected layers compute what PyTorch's operations compute."""

import math

import pytest
import torch

from mnist_gpu.engines.torch.kernels import kernel
from mnist_gpu.protocol.network import Layer
from tests.kernels.calls import away, draw, forward, loaded, outcome

SPARSE = [(9216, 128), (64, 256), (192, 128)]
BACKGROUND = -0.4242


def rectified(images: int, features: int) -> torch.Tensor:
    """Half are zeros; of some features all are, of others none."""
    drawn = torch.relu(draw(images, features))
    drawn[:, ::7], drawn[:, 1::7] = 0, 1
    return drawn


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


def images_of(features: int, images: int, background: bool) -> torch.Tensor:
    """As MNIST's: a fifth of the pixels differ from the background; or without any."""
    drawn = draw(images, features)
    ink = torch.rand(images, features, generator=torch.Generator().manual_seed(1)) < 0.2
    ink[0, 0] = False
    return torch.where(ink, drawn, BACKGROUND) if background else drawn


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("images", [1, 2, 7, 64, 131])
@pytest.mark.parametrize(("features", "units"), [(784, 128), (16, 256), (48, 128)])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-13), (torch.float32, 1e-5)])
def test_a_first_layer_is_computed_without_its_background(
    features, units, images, background, dtype, bound
):
    linear = Layer("linear", "fc1", units=units, input_shape=(features,))
    assert kernel.supports("first_linear", [linear, Layer("relu")], [Layer("flatten")], dtype)
    made = loaded("first_linear", linear, dtype)
    x, weight, bias = images_of(features, images, background), draw(features, units), draw(units)
    gradient = draw(images, units)
    found = outcome(made, *(tensor.to(dtype) for tensor in (x, weight, bias, gradient)))
    expected = torch.relu(x @ weight + bias)
    passed = gradient * (expected > 0)
    assert max(away(found, (expected, x.t() @ passed, passed.sum(0)))) < bound


def test_a_first_pixel_that_is_no_number_spoils_its_own_image_alone():
    linear = Layer("linear", "fc1", units=128, input_shape=(784,))
    x = images_of(784, 3, background=True)
    x[0, 0] = math.nan
    found = forward(loaded("first_linear", linear), x, draw(784, 128), draw(128))["output"]
    assert found[0].isnan().all()
    assert away([found[1:]], [torch.relu(x[1:] @ draw(784, 128) + draw(128))]) < [1e-13]
