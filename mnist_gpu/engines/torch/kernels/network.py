"""The open division's network: the stock one, with kernels of this project's own in places."""

from collections import OrderedDict
from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn
from typing_extensions import override

from mnist_gpu.engines.torch.kernels import kernel
from mnist_gpu.engines.torch.network import MNISTNetwork, build_module
from mnist_gpu.protocol.layout import Layout
from mnist_gpu.protocol.network import Layer, Network, relu_after_pool

DIGITS = 8


class OpenNetwork(MNISTNetwork):
    """The same mathematics; images stay channels-last from the first convolution to the flatten.

    So the features of the layer after the flatten come in another order than PyTorch's, and its
    weight is permuted to match; `to_neutral` and `from_neutral` undo that.
    """

    def __init__(self, modules: "OrderedDict[str, nn.Module]", network: Network) -> None:
        super().__init__(modules)
        made = {name: m for name, m in self.named_children() if isinstance(m, KernelLayer)}
        self.kernels = [module.kernel.name for module in made.values()]
        self.transposed = {f"{n}.weight" for n, m in made.items() if m.weight.ndim == 2}
        self.layout = Layout(network, (0, 1, 2, 3), (0, 1))

    @override
    def to_neutral(self, name: str, tensor: Tensor) -> Tensor:
        tensor = tensor.t() if name in self.transposed else tensor
        return torch.from_numpy(self.layout.outside(name, tensor.numpy()))

    @override
    def from_neutral(self, name: str, tensor: Tensor) -> Tensor:
        tensor = torch.from_numpy(self.layout.inside(name, tensor.numpy()))
        return tensor.t() if name in self.transposed else tensor


class KernelLayer(nn.Module):
    """Layers that one kernel computes, their parameters as it reads them.

    A linear weight is kept as (features, units), contiguous: PyTorch's fused Adam copies anything
    else back and forth. `rate` is that of a dropout at the end, 0 for none.
    """

    def __init__(self, made: kernel.Kernel, rate: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(kernel.dense(torch.empty(made.weight_shape, dtype=made.dtype)))
        self.bias = nn.Parameter(torch.empty(made.output_shape[:1], dtype=made.dtype))
        self.kernel, self.rate = made, rate

    @override
    def forward(self, x: Tensor) -> Tensor:
        x = kernel.dense(x.to(self.kernel.input_dtype))
        keep, scale = None, 1.0
        if self.training and self.rate:
            keep = keep_bits(len(x) * prod(self.kernel.output_shape), self.rate)
            scale = 1.0 / (1.0 - self.rate)
        return kernel.KernelFunction.apply(self.kernel, x, self.weight, self.bias, keep, scale)


class ChannelsLastFlatten(nn.Module):
    """Images as they lie in memory, without a copy."""

    @override
    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).reshape(len(x), -1)


def build_open_network(network: Network, dtype: torch.dtype, bfloat16: bool) -> OpenNetwork:
    """The layers of `network`, their parameters of `dtype`, kernels where they can be had; if
    `bfloat16`, those may round images and what is multiplied to that."""
    # the same function, on a quarter of the numbers
    layers = relu_after_pool(network.layers)
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    position = 0
    while position < len(layers):
        layer = layers[position]
        module, length = _module(layers[position:], layers[:position], dtype, bfloat16)
        modules[layer.name or f"{layer.kind}{position}"] = module
        position += length
    return OpenNetwork(modules, network)


def _module(
    layers: Sequence[Layer], before: Sequence[Layer], dtype: torch.dtype, bfloat16: bool
) -> tuple[nn.Module, int]:
    """What does the first of `layers`, in one kernel if it can be had, and how many they are."""
    # the first that fits: what does more layers at once stands first
    for name, source in kernel.SOURCES.items():
        length = len(source["layers"])
        those, rest = tuple(layers[:length]), layers[length:]
        if kernel.supports(name, those, before, dtype):
            made = kernel.get_kernel(name, those, dtype, bfloat16)
            dropped = rest[0].rate if rest and "keep" in source["forward"] else 0.0
            # C drops by few random bits; any other rate is left to PyTorch
            rate = dropped if (dropped * 2.0**DIGITS).is_integer() else 0.0
            if made:
                return KernelLayer(made, rate), length + (rate > 0)
    flattens = layers[0].kind == "flatten"
    return ChannelsLastFlatten() if flattens else build_module(layers[0]), 1


def keep_bits(count: int, rate: float) -> Tensor:
    """Which numbers a dropout keeps, with exactly the declared probability, from PyTorch's default
    generator: a bit for each of `count`, 0 with probability `rate`, a multiple of 1/256; in whole
    words, as bytes, the lowest bit of a byte first.

    A Bernoulli draw by floating-point numbers is serial on a CPU and costs more than the layer. A
    rate takes as many random bits as its fraction has digits: two for 1/4, one for 1/2.
    """
    places = digits(rate)
    random_words = torch.empty(len(places), -(-count // 64), dtype=torch.int64)
    # from the least number on, without an upper bound, means all 64 bits
    random_words.random_(torch.iinfo(torch.int64).min, None)
    return join(random_words.unbind(), places).view(torch.uint8)


def digits(rate: float) -> list[bool]:
    """The binary digits of the probability to be kept, the last 1 first."""
    kept = int((1 - rate) * 2**DIGITS)
    places = [bool(kept >> place & 1) for place in range(DIGITS)]
    return places[places.index(True) :]


def join(random: Sequence[Tensor], places: Sequence[bool]) -> Tensor:
    """Bits that are 1 with the probability that has `places` for `digits`: by OR where one says 1,
    else by AND; `random`: whole numbers of independent, even bits, a tensor for each."""
    kept, *rest = random
    for more, digit in zip(rest, places[1:], strict=True):
        kept = kept | more if digit else kept & more
    return kept
