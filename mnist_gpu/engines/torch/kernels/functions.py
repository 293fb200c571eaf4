"""The kernels as autograd functions: what `loss.backward()` calls.

https://docs.pytorch.org/docs/stable/notes/extending.html#extending-torch-autograd
"""

from typing import Any

from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from mnist_gpu.engines.torch.kernels.first_convolution import FirstConvolution
from mnist_gpu.engines.torch.kernels.pooled_convolution import PooledConvolution
from mnist_gpu.engines.torch.kernels.sparse_linear import SparseLinear


class FirstConvolutionFunction(Function):
    """A 3x3 convolution of one channel and its ReLU; images need no gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, kernel: FirstConvolution) -> Any:
        """(n, 1, h, w) to (n, filters, h - 2, w - 2), channels-last."""
        output = kernel.forward(x, weight, bias)
        ctx.save_for_backward(x, weight, output)
        ctx.kernel = kernel
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """Gradients of weight and bias."""
        to_weight, to_bias = ctx.kernel.backward(*ctx.saved_tensors, gradient)
        return None, to_weight, to_bias, None


class PooledConvolutionFunction(Function):
    """A 3x3 convolution, max-pool 2, ReLU and dropout."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        keep: Tensor | None,
        scale: float,
        kernel: PooledConvolution,
    ) -> Any:
        """(n, channels, h, w) to (n, filters, (h - 2) / 2, (w - 2) / 2), channels-last."""
        output, winners = kernel.forward(x, weight, bias, keep, scale)
        ctx.save_for_backward(x, weight, winners)
        ctx.kernel, ctx.scale = kernel, scale
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """Gradients of the input, weight and bias."""
        x, weight, winners = ctx.saved_tensors
        found = ctx.kernel.backward(x, weight, gradient, winners, ctx.scale)
        return (*found, None, None, None)


class SparseLinearFunction(Function):
    """A fully connected layer that leaves out products with the zeros of its input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, kernel: SparseLinear) -> Any:
        """(n, features) to (n, units)."""
        ctx.save_for_backward(x, weight)
        ctx.kernel = kernel
        return kernel.forward(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """Gradients of the input (0 where it is 0: it comes from a ReLU), weight and bias."""
        x, weight = ctx.saved_tensors
        to_x, to_weight = ctx.kernel.backward(x, weight, gradient)
        return to_x, to_weight, gradient.sum(0), None
