"""One way to bind the C sources of `kernels.yaml`: sizes, arguments by name, gradients, trust."""

import ctypes
import logging
from collections.abc import Mapping, Sequence
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mnist_gpu.engines.torch.kernels import compiler
from mnist_gpu.engines.torch.network import build_module
from mnist_gpu.paths import packaged
from mnist_gpu.protocol.network import Layer, comes_from_relu

log = logging.getLogger(__name__)
FOLDER = Path(__file__).parent
SOURCES: dict[str, dict[str, Any]] = packaged("engines/torch/kernels/kernels")
TYPES = {torch.float32: ("float", "int32_t"), torch.float64: ("double", "int64_t")}
FORMATS = {1: torch.contiguous_format, 2: torch.contiguous_format, 4: torch.channels_last}
TOLERANCE = {torch.bfloat16: 2.0**-7, torch.float32: 1e-5, torch.float64: 1e-13}
CHUNK, SPARE = 64, 16  # as in the sources of linear layers
LARGEST_TILE_BLOCK = 6
BFLOAT16_MULTIPLE = 32  # of the channels or features of an input of bfloat16


def supports(
    name: str, layers: Sequence[Layer], before: Sequence[Layer], dtype: torch.dtype
) -> bool:
    """Whether the source `name` can compute these layers, which come after the layers `before`."""
    source = SOURCES[name]
    if [layer.kind for layer in layers] != source["layers"] or dtype not in TYPES:
        return False
    first = not any(layer.weight_shape for layer in before)
    facts = {"FIRST": first, "AFTER_RELU": comes_from_relu(before), **_sizes(layers, dtype)}
    # what the C source was written for, and nothing else
    as_needed = all(facts[size] == value for size, value in source["needs"].items())
    return as_needed and all(facts[size] % of == 0 for size, of in source["multiples"].items())


def _sizes(layers: Sequence[Layer], dtype: torch.dtype) -> dict[str, int]:
    """What C is compiled for, by the names of its macros."""
    layer = layers[0]
    if layer.kind == "linear":
        row_bytes = layer.units * dtype.itemsize
        return {"FEATURES": layer.input_shape[0], "UNITS": layer.units, "ROW_BYTES": row_bytes}
    window = layers[1].size or 1
    tiles = (layer.input_shape[2] - 2) // window
    tile_block = max(n for n in range(1, LARGEST_TILE_BLOCK + 1) if tiles % n == 0)
    names = ("CHANNELS", "HEIGHT", "WIDTH", "FILTERS", "KERNEL", "PADDING", "WINDOW")
    values = (*layer.input_shape, layer.filters, layer.kernel, layer.padding, window)
    return {**dict(zip(names, values, strict=True)), "TILE_BLOCK": tile_block}


class Kernel:
    """A source compiled for some layers' sizes. Every tensor is `dense` and on the CPU.

    Args:
        name: of the source.
        layers: that it computes; the first has the weights.
        dtype: of the weights.
        bfloat16: whether the source's `bfloat16` may be that, where the processor multiplies it.

    Raises:
        Unavailable: it cannot be compiled here.
    """

    def __init__(
        self, name: str, layers: Sequence[Layer], dtype: torch.dtype, bfloat16: bool
    ) -> None:
        self.name, self.source, sizes = name, SOURCES[name], _sizes(layers, dtype)
        self.input_shape, shape = layers[0].input_shape, layers[0].weight_shape or ()
        # a linear layer's weight goes feature by feature in memory
        self.weight_shape = shape if len(shape) == 4 else shape[::-1]
        sides = [(side - 2) // sizes["WINDOW"] for side in self.input_shape[1:]]
        self.output_shape = (shape[0], *sides)
        whole = "x" not in self.source["bfloat16"] or shape[1] % BFLOAT16_MULTIPLE == 0
        may = bfloat16 and bool(self.source["bfloat16"]) and whole and dtype == torch.float32
        narrow = may and "__AVX512BF16__" in compiler.predefined()
        self.dtype, self.narrow_dtype = dtype, torch.bfloat16 if narrow else dtype
        dtypes = dict.fromkeys(self.source["bfloat16"], self.narrow_dtype)
        self.input_dtype, self.output_dtype = dtypes.get("x", dtype), dtypes.get("output", dtype)
        real, integer = TYPES[dtype]
        # sizes known to the compiler unroll the inner loops
        macros: dict[str, str | int] = {"REAL": real, "INTEGER": integer, **sizes}
        macros |= {"BFLOAT16": 1} if narrow else {}
        self.library = compiler.load(FOLDER / f"{name}.c", macros)
        self.lasting: dict[str, Tensor] = {}

    def call(self, function: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Call C's `forward` or `backward` with the arguments `given` by name, the scale as C's
        double; gives all of them, those that C wrote to as well."""
        names, images, threads = self.source[function], len(given["x"]), torch.get_num_threads()
        found = {**self.lasting, **given}
        for name in names:
            if name not in found:
                found[name] = self._allocate(name, found, threads)
        values = [found[name] for name in names]
        pointers = [ctypes.c_void_p(v.data_ptr()) if isinstance(v, Tensor) else v for v in values]
        # ctypes gives up Python's lock meanwhile; the tensors are held by `found`
        getattr(self.library, function)(*pointers, images, threads)
        return found

    def _allocate(self, name: str, found: Mapping[str, Any], threads: int) -> Tensor:
        images = len(found["x"])
        match name:
            case "output":
                shape = (images, *self.output_shape)
                format_ = FORMATS[len(shape)]
                return torch.empty(shape, dtype=self.output_dtype, memory_format=format_)
            case "winners":
                return torch.empty_like(found["output"], dtype=torch.uint8)
            case "rounded" | "passed":
                return torch.empty_like(found["gradient"], dtype=self.narrow_dtype)
            case "to_x" | "to_weight" | "to_bias":
                return torch.empty_like(found[name.removeprefix("to_")])
            case "transformed":
                # small, and needed at every step: memory that stays costs no page faults
                numbers = 16 * prod(self.weight_shape[:2])
                self.lasting[name] = torch.empty(numbers, dtype=self.narrow_dtype)
                return self.lasting[name]
        sums = prod(self.weight_shape) + self.output_shape[0]
        of_a_thread = {
            "sums": sums,
            "sums_and_image": sums + prod(self.input_shape),
            "outputs": images * self.output_shape[0],
            "columns": CHUNK * (3 * images + SPARE),
        }
        return torch.empty(threads * of_a_thread[name], dtype=self.dtype)


def dense(tensor: Tensor) -> Tensor:
    """Without gaps; images and the weights of a convolution channels-last."""
    return tensor.contiguous(memory_format=FORMATS[tensor.ndim])


class KernelFunction(torch.autograd.Function):
    """What `loss.backward()` calls (https://docs.pytorch.org/docs/stable/notes/extending.html)."""

    @staticmethod
    def forward(
        ctx: Any, kernel: Kernel, x: Tensor, weight: Tensor, bias: Tensor, keep: Any, scale: float
    ) -> Any:
        """The output (n, *output_shape)."""
        ctx.kernel, ctx.scale = kernel, ctypes.c_double(scale)
        given = {"x": x, "weight": weight, "bias": bias, "keep": keep, "scale": ctx.scale}
        found = kernel.call("forward", given)
        # not as attributes: autograd frees and checks what it is given here
        ctx.save_for_backward(*(found[name] for name in kernel.source["saved"]))
        return found["output"]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """Gradients of x, but for a first layer's, weight and bias."""
        given = dict(zip(ctx.kernel.source["saved"], ctx.saved_tensors, strict=True))
        given |= {"gradient": dense(gradient), "scale": ctx.scale}
        found = ctx.kernel.call("backward", given)
        # a linear layer's bias is left to PyTorch
        to_bias = found["to_bias"] if "to_bias" in found else gradient.sum(0)
        return None, found.get("to_x"), found["to_weight"], to_bias, None, None


@cache
def get_kernel(
    name: str, layers: tuple[Layer, ...], dtype: torch.dtype, bfloat16: bool = False
) -> Kernel | None:
    """As `Kernel`, for layers that it supports; None, and a warning that says why, if there is none
    here that computes what PyTorch computes."""
    try:
        kernel = Kernel(name, layers, dtype, bfloat16)
        if not _agrees(kernel, layers):
            raise compiler.Unavailable("it does not compute what PyTorch computes")
    except compiler.Unavailable as exc:
        why = f"{layers[0].name}: our own kernel is not used: {exc}"
        log.warning("%s. PyTorch's take its place: the same, but slower", why)
        return None
    return kernel


@torch.enable_grad()
def _agrees(kernel: Kernel, layers: Sequence[Layer]) -> bool:
    """Whether five images come out as with PyTorch's operations, forward and backward."""
    shapes = (kernel.weight_shape, kernel.output_shape[:1])
    images = ((5, *kernel.input_shape), (5, *kernel.output_shape))
    # of its own: looking at a kernel must not move dropout's stream
    random = torch.Generator().manual_seed(0)
    # small whole numbers, which survive any rounding of a kernel
    drawn = (torch.randint(-3, 4, shape, generator=random) for shape in (*shapes, *images))
    weight, bias, x, gradient = (dense(numbers.to(kernel.dtype)) for numbers in drawn)
    linear = weight.ndim == 2

    stock = nn.Sequential(*(build_module(layer) for layer in layers))
    stock[0].weight = nn.Parameter(weight.t() if linear else weight)
    stock[0].bias = nn.Parameter(bias)
    expected = stock(x.requires_grad_())
    wanted = list(torch.autograd.grad(expected, [x, *stock.parameters()], gradient))
    if linear:  # nothing passes to a zero of the ReLU before it
        wanted[:2] = wanted[0] * (x != 0), wanted[1].t()

    given = [t.requires_grad_() for t in (x.detach().to(kernel.input_dtype), weight, bias)]
    output = KernelFunction.apply(kernel, *given, None, 1.0)
    found = torch.autograd.grad(output, given, gradient.to(output.dtype), allow_unused=True)
    return all(
        one is None or bool((one - other).abs().max() <= TOLERANCE[one.dtype] * other.abs().max())
        for one, other in zip((output, *found), (expected, *wanted), strict=True)
    )
