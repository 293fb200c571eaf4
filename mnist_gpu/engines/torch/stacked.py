"""The layers of many networks at once, forward and backward by hand: see `layers` for one.

Every parameter carries its member first: weight (members, out, ...), bias (members, out). The
members' images go through convolutions and pools side by side as groups of channels, (n, members *
channels, h, w); features are (members, n, features).
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from typing_extensions import override

from mnist_gpu.engines.torch import layers
from mnist_gpu.engines.torch.dropout import keep_mask
from mnist_gpu.protocol.network import Layer, Network, relu_after_pool
from mnist_gpu.protocol.workload import Weights

aten = torch.ops.aten


class Parameters(nn.Module):
    """Weights and biases of one layer of all members."""

    def __init__(self, weight_shape: tuple[int, ...], dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(weight_shape, dtype=dtype))
        self.bias = nn.Parameter(torch.zeros(weight_shape[:2], dtype=dtype))


class StackedNetwork(nn.Module):
    """`members` networks with the same layers. Parameter names are the network's own.

    Args:
        network: the layers.
        members: how many.
        dtype: of the parameters.
        relu_last: whether ReLU trades places with a max-pool after it.
    """

    def __init__(
        self, network: Network, members: int, dtype: torch.dtype, relu_last: bool = True
    ) -> None:
        super().__init__()
        self.members = members
        self.layers = relu_after_pool(network.layers) if relu_last else list(network.layers)
        self.evaluation_pass: list[layers.Step] = []
        for layer in self.layers:
            if layer.kind in ("conv", "linear"):
                shape = _weight_shape(layer)
                self.add_module(layer.name, Parameters((members, *shape), dtype))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (members, n, 10) of the same images (n, 1, 28, 28) for all, dropout off."""
        x = images.unsqueeze(0).expand(self.members, *images.shape)
        for step in self.evaluation_pass:
            x = step.forward(x)
        return x

    def training_pass(self, context: layers.Context) -> list[layers.Step]:
        """The layers of the training pass, dropout on."""
        steps: list[layers.Step] = []
        first = True
        for layer in self.layers:
            match layer.kind:
                case "conv":
                    module: Any = self.get_submodule(layer.name)
                    steps.append(Conv(context, module, layer.padding, first))
                    first = False
                case "linear":
                    module = self.get_submodule(layer.name)
                    steps.append(Linear(context, module, first))
                    first = False
                case "max_pool":
                    steps.append(layers.MaxPool(context, layer.size))
                case "relu":
                    steps.append(layers.ReLU(context))
                case "dropout" if layer.rate:
                    steps.append(Dropout(context, layer.rate))
                case "flatten":
                    steps.append(Flatten(context))
        self.evaluation_pass = [step for step in steps if not isinstance(step, Dropout)]
        return steps

    @torch.no_grad()
    def load(self, members: list[Weights]) -> None:
        """Take over the weights of every member."""
        for name, parameter in self.named_parameters():
            stacked = np.stack([weights[name] for weights in members])
            parameter.copy_(torch.from_numpy(stacked))

    def to_neutral(self, name: str, tensor: Tensor) -> npt.NDArray[Any]:
        """A parameter of all members, or its moments, as a NumPy array."""
        return tensor.detach().cpu().numpy().copy()

    def from_neutral(self, name: str, array: npt.NDArray[Any]) -> Tensor:
        """The other way round."""
        return torch.from_numpy(np.array(array, order="C", copy=True))


class Conv(layers.Step):
    """Stride 1, a group of channels for each member."""

    def __init__(
        self, context: layers.Context, module: Parameters, padding: int, first: bool
    ) -> None:
        super().__init__(context)
        self.weight, self.bias = module.weight, module.bias
        self.padding = [padding, padding]
        self.first = first

    @override
    def forward(self, x: Tensor) -> Tensor:
        dtype = self.context.compute_dtype
        if x.dim() == 5:
            x = x.transpose(0, 1).flatten(1, 2)
        self.x, self.cast = x.to(dtype), self.weight.to(dtype).flatten(0, 1)
        bias = self.bias.to(dtype).flatten()
        return torch.conv2d(self.x, self.cast, bias, padding=self.padding, groups=len(self.weight))

    @override
    def backward(self, gradient: Tensor) -> Tensor | None:
        to_input, to_weight, to_bias = aten.convolution_backward(
            gradient,
            self.x,
            self.cast,
            [self.bias.numel()],
            [1, 1],
            self.padding,
            [1, 1],
            False,
            [0, 0],
            len(self.weight),
            [not self.first, True, True],
        )
        self.weight.grad = to_weight.reshape(self.weight.shape).to(self.weight.dtype).contiguous()
        self.bias.grad = to_bias.view(self.bias.shape).to(self.bias.dtype)
        return None if self.first else to_input


class Linear(layers.Step):
    """Fully connected: one product for all members."""

    def __init__(self, context: layers.Context, module: Parameters, first: bool) -> None:
        super().__init__(context)
        self.weight, self.bias = module.weight, module.bias
        self.first = first

    @override
    def forward(self, x: Tensor) -> Tensor:
        dtype = self.context.compute_dtype
        self.x, self.cast = x.to(dtype), self.weight.to(dtype)
        return torch.baddbmm(self.bias.to(dtype).unsqueeze(1), self.x, self.cast.transpose(1, 2))

    @override
    def backward(self, gradient: Tensor) -> Tensor | None:
        self.weight.grad = torch.bmm(gradient.transpose(1, 2), self.x).to(self.weight.dtype)
        self.bias.grad = gradient.sum(1, dtype=self.bias.dtype)
        return None if self.first else torch.bmm(gradient, self.cast)


class Dropout(layers.Dropout):
    """Every member's mask is the one that it would have alone."""

    @override
    def forward(self, x: Tensor) -> Tensor:
        generators, from_bits = self.context.generators, self.context.dropout_bits
        images = x.dim() == 4
        alone = _images_of_one(x, len(generators)) if images else x[0]
        masks = [keep_mask(alone, self.rate, generator, from_bits) for generator in generators]
        self.mask = torch.cat(masks, 1) if images else torch.stack(masks)
        return x * self.mask


class Flatten(layers.Step):
    """Channels first."""

    @override
    def forward(self, x: Tensor) -> Tensor:
        self.shape = x.shape
        if x.dim() == 5:
            return x.flatten(2)
        members = len(self.context.generators)
        return x.reshape(len(x), members, -1).transpose(0, 1).contiguous()

    @override
    def backward(self, gradient: Tensor) -> Tensor:
        return gradient.transpose(0, 1).reshape(self.shape)


class CrossEntropy:
    """Each member's mean cross-entropy on logits, and its gradient."""

    def forward(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The mean loss of each member and its number of right answers, (members,) both, from
        logits (members, n, 10)."""
        self.labels, self.dtype = labels.unsqueeze(-1), logits.dtype
        wide = logits if logits.dtype == torch.float64 else logits.float()
        self.log_probabilities = torch.log_softmax(wide, -1)
        losses = -self.log_probabilities.gather(-1, self.labels).squeeze(-1)
        return losses.mean(-1), layers.right_answers(logits, labels)

    def backward(self, loss_gradient: Tensor) -> Tensor:
        """The gradient of the logits."""
        probabilities = self.log_probabilities.exp()
        minus_one = -torch.ones_like(probabilities[..., :1])
        to_logits = probabilities.scatter_add(-1, self.labels, minus_one)
        scale = loss_gradient / self.labels.shape[-2]
        return (to_logits * scale).to(self.dtype)


def _images_of_one(x: Tensor, members: int) -> Tensor:
    """An empty batch of one member's images, in the memory order it would have alone."""
    n, channels, height, width = x.shape
    return torch.empty(
        (n, channels // members, height, width),
        dtype=x.dtype,
        device=x.device,
        memory_format=torch.channels_last,
    )


def _weight_shape(layer: Layer) -> tuple[int, ...]:
    if layer.kind == "conv":
        return (layer.filters, layer.input_shape[0], layer.kernel, layer.kernel)
    return (layer.units, layer.input_shape[0])
