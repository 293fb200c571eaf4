"""The layers, forward and backward by hand, on the library's own kernels.

Writing the backward pass out, rather than recording it, leaves the recorder's work out of every
step and lets a layer use what it knows: a pooled gradient sums to the bias gradient, the first
layer needs no input gradient. The mathematics is autograd's; tests hold the two together in
float64.

All images are channels-last; `flatten` takes them in that order (see `network.TorchNetwork`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from typing_extensions import override

from mnist_gpu.engines.torch.dropout import keep_mask

aten = torch.ops.aten
# weights of a layer on a CPU: what smaller ones take to prepare is more than there is to do
WORTH_ONEDNN, WORTH_ROUNDING = 500_000, 10_000


@dataclass
class Context:
    """What a training pass shares: each seed's dropout stream, and the type of its products."""

    generators: Sequence[torch.Generator]
    compute_dtype: torch.dtype
    onednn_linear: bool
    dropout_bits: bool = True
    first_convolution: bool = False
    pooled_convolution: bool = False
    sparse_linear: bool = False
    output_layers: bool = False


class Step:
    """One layer of a training pass. `forward` keeps what `backward` needs."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output, dropout on."""
        raise NotImplementedError

    def backward(self, gradient: Tensor) -> Tensor | None:
        """The gradient of the input, None for the first layer with weights.

        Args:
            gradient: of the output; it may be wider than that.
        """
        raise NotImplementedError


class MaxPool(Step):
    """Square windows that do not overlap."""

    def __init__(self, context: Context, size: int) -> None:
        super().__init__(context)
        self.size = [size, size]

    @override
    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        pooled, self.indices = aten.max_pool2d_with_indices(x, self.size)
        return pooled

    @override
    def backward(self, gradient: Tensor) -> Tensor:
        self.gradient = gradient = gradient.to(self.x.dtype)
        return aten.max_pool2d_with_indices_backward(
            gradient, self.x, self.size, self.size, [0, 0], [1, 1], False, self.indices
        )


class Conv(Step):
    """Stride 1. `pool` is the max-pool right after it, if there is one."""

    def __init__(
        self, context: Context, module: nn.Conv2d, padding: int, first: bool, pool: MaxPool | None
    ) -> None:
        super().__init__(context)
        self.weight, self.bias = module.weight, module.bias
        self.padding = [padding, padding]
        self.first = first
        self.pool = pool

    @override
    def forward(self, x: Tensor) -> Tensor:
        dtype = self.context.compute_dtype
        self.x, self.cast = x.to(dtype), self.weight.to(dtype)
        assert self.bias is not None
        return torch.conv2d(self.x, self.cast, self.bias.to(dtype), padding=self.padding)

    @override
    def backward(self, gradient: Tensor) -> Tensor | None:
        assert self.bias is not None
        gradient = gradient.to(self.x.dtype)
        mask = [not self.first, True, self.pool is None]
        to_input, to_weight, to_bias = aten.convolution_backward(
            gradient,
            self.x,
            self.cast,
            [len(self.bias)],
            [1, 1],
            self.padding,
            [1, 1],
            False,
            [0, 0],
            1,
            mask,
        )
        if self.pool is not None:
            # pooling only moves gradients about: the quarter before it sums to the same
            to_bias = self.pool.gradient.sum((0, 2, 3), dtype=self.bias.dtype)
        self.weight.grad = _laid_out_as(self.weight, to_weight)
        self.bias.grad = to_bias.to(self.bias.dtype)
        return None if self.first else to_input


class Linear(Step):
    """A fully connected layer, its products in oneDNN or in the BLAS."""

    def __init__(self, context: Context, module: nn.Linear, first: bool) -> None:
        super().__init__(context)
        self.weight, self.bias = module.weight, module.bias
        self.first = first
        weights = module.weight.numel()
        self.onednn = context.onednn_linear and weights >= WORTH_ONEDNN
        exact = module.weight.device.type == "cpu" and weights < WORTH_ROUNDING
        self.dtype = module.weight.dtype if exact else context.compute_dtype

    @override
    def forward(self, x: Tensor) -> Tensor:
        self.x, self.cast = x.to(self.dtype), self.weight.to(self.dtype)
        return self._product(self.x, self.cast, self.bias.to(self.dtype))

    @override
    def backward(self, gradient: Tensor) -> Tensor | None:
        gradient = gradient.to(self.dtype)
        self.weight.grad = self._product(gradient.t(), self.x.t()).to(self.weight.dtype)
        self.bias.grad = gradient.sum(0, dtype=self.bias.dtype)
        return None if self.first else self._product(gradient, self.cast.t())

    def _product(self, a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
        """`a @ b.t() + bias`."""
        if self.onednn:
            return torch.ops.mkldnn._linear_pointwise(a, b, bias, "none", [], "")
        return torch.nn.functional.linear(a, b, bias)


class ReLU(Step):
    """In place: what comes in is this pass's own."""

    @override
    def forward(self, x: Tensor) -> Tensor:
        self.output = torch.relu_(x)
        return self.output

    @override
    def backward(self, gradient: Tensor) -> Tensor:
        return aten.threshold_backward(gradient.to(self.output.dtype), self.output, 0)


class Dropout(Step):
    """Zero with probability `rate`, else scaled by 1 / (1 - rate)."""

    def __init__(self, context: Context, rate: float) -> None:
        super().__init__(context)
        self.rate = rate

    @override
    def forward(self, x: Tensor) -> Tensor:
        [generator] = self.context.generators
        self.mask = keep_mask(x, self.rate, generator, self.context.dropout_bits)
        return x * self.mask

    @override
    def backward(self, gradient: Tensor) -> Tensor:
        return gradient * self.mask


class Flatten(Step):
    """Channels last: a view."""

    @override
    def forward(self, x: Tensor) -> Tensor:
        self.shape = x.shape
        return x.permute(0, 2, 3, 1).reshape(len(x), -1)

    @override
    def backward(self, gradient: Tensor) -> Tensor:
        n, channels, height, width = self.shape
        return gradient.reshape(n, height, width, channels).permute(0, 3, 1, 2)


class Loss(Protocol):
    """A loss and its gradient."""

    def forward(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The mean loss over the batch, and how many of the largest logits are the label's."""

    def backward(self, loss_gradient: Tensor) -> Tensor:
        """The gradient of the logits."""


class CrossEntropy:
    """Mean cross-entropy on logits, and its gradient."""

    def forward(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The mean loss over the batch, in float32 or wider, and the number of right answers."""
        self.labels, self.dtype = labels, logits.dtype
        wide = logits if logits.dtype == torch.float64 else logits.float()
        self.log_probabilities = torch.log_softmax(wide, 1)
        loss, self.total_weight = aten.nll_loss_forward(
            self.log_probabilities, labels, None, 1, -100
        )
        return loss, right_answers(logits, labels)

    def backward(self, loss_gradient: Tensor) -> Tensor:
        """The gradient of the logits."""
        to_log = aten.nll_loss_backward(
            loss_gradient, self.log_probabilities, self.labels, None, 1, -100, self.total_weight
        )
        to_logits = aten._log_softmax_backward_data(
            to_log, self.log_probabilities, 1, self.log_probabilities.dtype
        )
        return to_logits.to(self.dtype)


def right_answers(logits: Tensor, labels: Tensor) -> Tensor:
    """How many of the largest logits are the label's, over the last dimension of `labels`."""
    return (logits.argmax(-1) == labels).sum(-1)


def _laid_out_as(weight: Tensor, gradient: Tensor) -> Tensor:
    """The gradient in the weight's type and memory order: the fused optimizer goes by memory."""
    gradient = gradient.to(weight.dtype)
    if gradient.stride() == weight.stride():
        return gradient
    return torch.empty_like(weight).copy_(gradient)
