"""Layers that kernels compute, what goes in, and how far what comes out is from what should."""

import ctypes

import torch

from mnist_gpu.engines.torch.kernels import kernel
from mnist_gpu.protocol.network import Layer

AFTER = {
    "first_convolution": (Layer("relu"),),
    "pooled_convolution": (Layer("max_pool", size=2), Layer("relu")),
    "first_linear": (Layer("relu"),),
    "sparse_linear": (),
}


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


def away(found, wanted) -> list[float]:
    """How far each is from what it should be, by the largest of its numbers."""
    return [
        ((one - other).abs().max() / other.abs().max()).item()
        for one, other in zip(found, wanted, strict=True)
    ]


def forward(made: kernel.Kernel, x, weight, bias, keep=None, scale=1.0) -> dict:
    """All that C's forward takes and writes, by name."""
    given = {"x": x, "weight": weight, "bias": bias, "keep": keep}
    return made.call("forward", {**given, "scale": ctypes.c_double(scale)})
