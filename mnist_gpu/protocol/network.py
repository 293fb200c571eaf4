"""The network as data: a list of layers, and what follows from it: shapes, FLOPs, first weights."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from mnist_gpu.errors import UserError
from mnist_gpu.paths import choices, shipped
from mnist_gpu.protocol.streams import uniform

INPUT_SHAPE = (1, 28, 28)
MAX_SIZE = 100_000
NAME = re.compile(r"[\w.+-]{1,64}", re.A)
KINDS = {
    "conv": {"name", "filters", "kernel", "padding"},
    "relu": set(),
    "max_pool": {"size"},
    "dropout": {"rate"},
    "flatten": set(),
    "linear": {"name", "units"},
}


@dataclass(frozen=True)
class Layer:
    """One layer; only the fields of its kind mean anything.

    Kinds: `conv` (filters, square kernel, stride 1, zero padding), `relu`, `max_pool` (square
    windows that do not overlap), `dropout` (rate: the probability of a zero), `flatten`
    (channel-first order), `linear` (units). Shapes are channel-first, without the batch.
    """

    kind: str
    name: str = ""
    filters: int = 0
    kernel: int = 0
    padding: int = 0
    size: int = 0
    rate: float = 0.0
    units: int = 0
    input_shape: tuple[int, ...] = ()
    output_shape: tuple[int, ...] = ()

    @property
    def weight_shape(self) -> tuple[int, ...] | None:
        """Shape of the weight in PyTorch's layout, None for a layer without parameters."""
        if self.kind == "conv":
            return (self.filters, self.input_shape[0], self.kernel, self.kernel)
        if self.kind == "linear":
            return (self.units, self.input_shape[0])
        return None

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one forward pass of one sample."""
        if self.weight_shape is None:
            return 0
        positions = prod(self.output_shape[1:]) if self.kind == "conv" else 1
        return prod(self.weight_shape) * positions


@dataclass(frozen=True)
class Network:
    """A checked stack of layers from a 1x28x28 image to 10 logits."""

    name: str
    layers: tuple[Layer, ...]

    @classmethod
    def from_config(
        cls, name: str, layers: Sequence[Mapping[str, Any]], dropout: bool = True
    ) -> "Network":
        """Build from `conf/model/<name>.yaml`; `dropout=False` turns every rate to 0.

        Raises:
            UserError: an unknown kind, a missing or impossible value, or a last layer that does
                not give 10 logits; the message names the layer.
        """
        shape: tuple[int, ...] = INPUT_SHAPE
        built: list[Layer] = []
        for number, entry in enumerate(layers):
            layer = _layer(number, entry)
            # the layer stays, so that the others keep their places
            if layer.kind == "dropout" and not dropout:
                layer = replace(layer, rate=0.0)
            layer = replace(layer, input_shape=shape, output_shape=_output(number, layer, shape))
            shape = layer.output_shape
            built.append(layer)
        if shape != (10,):
            raise UserError(f"model.layers: the last layer gives {shape}, not 10 logits")
        names = [layer.name for layer in built if layer.weight_shape]
        if len(set(names)) != len(names):
            raise UserError(f"model.layers: layers with weights need distinct names, got {names}")
        return cls(name, tuple(built))

    def parameters(self) -> Iterator[tuple[str, tuple[int, ...], int]]:
        """Yield (name, shape, fan-in) of every parameter in order, PyTorch's layout."""
        for layer in self.layers:
            if layer.weight_shape is not None:
                fan_in = prod(layer.weight_shape[1:])
                yield f"{layer.name}.weight", layer.weight_shape, fan_in
                yield f"{layer.name}.bias", layer.weight_shape[:1], fan_in

    @property
    def n_parameters(self) -> int:
        """How many numbers are trained."""
        return sum(prod(shape) for _, shape, _ in self.parameters())

    @property
    def flops_per_sample(self) -> int:
        """Floating-point operations to train on one sample: two per multiply-accumulate, for the
        forward pass, the weight gradients and the input gradients (not needed for the first layer).
        Element-wise work is left out, as is usual."""
        # nothing asks for the gradient of the images
        macs = [layer.macs for layer in self.layers if layer.macs]
        return 2 * (3 * sum(macs) - macs[0])


def named_network(name: str, dropout: bool = True) -> Network:
    """Read the network `name` from `conf/model/<name>.yaml`, without Hydra; UserError where there
    is none, with the names there are."""
    known = choices("model")
    if name not in known:
        raise UserError(f"model={name}: choose from {', '.join(known)}")
    return Network.from_config(name, shipped(f"model/{name}")["layers"], dropout)


def initial_weights(network: Network, seed: int) -> dict[str, npt.NDArray[np.float32]]:
    """Draw every parameter from U(-1/sqrt(fan_in), 1/sqrt(fan_in)), rounded to float32.

    That is PyTorch's default for `Conv2d` and `Linear`, weights (`kaiming_uniform_(a=sqrt(5))`) and
    biases alike. Keys are `<layer>.weight` and `<layer>.bias`; shapes are PyTorch's. The numbers
    are the same on every machine and NumPy version.
    """
    weights = {}
    for number, (name, shape, fan_in) in enumerate(network.parameters()):
        # a stream for each parameter: a layer more or less leaves the others' weights alone
        drawn = uniform("weights", seed, number, prod(shape))
        bound = 1.0 / np.sqrt(fan_in)
        weights[name] = ((2.0 * drawn - 1.0) * bound).astype(np.float32).reshape(shape)
    return weights


def relu_after_pool(layers: Sequence[Layer]) -> list[Layer]:
    """Swap every ReLU that is followed by a max-pool with it: both are monotonic, so values and
    gradients stay the same, at a quarter of the work."""
    swapped = list(layers)
    for position in range(len(swapped) - 1):
        if swapped[position].kind == "relu" and swapped[position + 1].kind == "max_pool":
            swapped[position : position + 2] = swapped[position + 1], swapped[position]
    return swapped


def comes_from_relu(before: Sequence[Layer]) -> bool:
    """Whether what the layers `before` give is never negative, and no gradient passes where it is
    zero: they end in a ReLU, or in layers after one that zero, choose or rearrange its numbers."""
    for layer in reversed(before):
        if layer.kind == "relu" or layer.weight_shape is not None:
            return layer.kind == "relu"
    return False


def _layer(number: int, entry: Mapping[str, Any]) -> Layer:
    where, kind = f"model.layers[{number}]", str(entry.get("kind"))
    if kind not in KINDS:
        raise UserError(f"{where}={str(entry)[:100]}: its kind: choose from {', '.join(KINDS)}")
    if unknown := set(entry) - KINDS[kind] - {"kind"}:
        raise UserError(f"{where} ({kind}): unknown key {sorted(map(str, unknown))[0]!r}")
    layer = Layer(**entry)
    # what is left out is 0 or empty, which is refused
    for key in sorted(KINDS[kind]):
        value = getattr(layer, key)
        if key == "name":
            fits = isinstance(value, str) and NAME.fullmatch(value) is not None
            may_be = "letters, digits and _ . + - only"
        elif key == "rate":
            fits = type(value) in (int, float) and 0 <= value < 1
            may_be = "a number from 0 to below 1"
        else:
            least = 0 if key == "padding" else 1
            fits = type(value) is int and least <= value <= MAX_SIZE
            may_be = f"a whole number from {least} to {MAX_SIZE}"
        if not fits:
            raise UserError(f"{where}.{key}={value!r}: {may_be}")
    return layer


def _output(number: int, layer: Layer, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that a layer makes of `shape`, both without the batch."""
    where = f"model.layers[{number}] ({layer.kind})"
    if layer.kind in ("conv", "max_pool") and len(shape) != 3:
        raise UserError(f"{where}: needs an image, but gets {shape}")
    if layer.kind == "linear" and len(shape) != 1:
        raise UserError(f"{where}: needs a flat input, but gets {shape}: put a flatten before it")
    output = shape
    match layer.kind:
        case "conv":
            sides = [length + 2 * layer.padding - layer.kernel + 1 for length in shape[1:]]
            output = (layer.filters, *sides)
        case "max_pool":
            output = (shape[0], *(length // layer.size for length in shape[1:]))
        case "flatten":
            output = (prod(shape),)
        case "linear":
            output = (layer.units,)
    if min(output) < 1:
        raise UserError(f"{where}: nothing is left of {shape}")
    return output
