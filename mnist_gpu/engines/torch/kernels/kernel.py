"""What the bindings of our own kernels share: types, calls, and why a kernel is trusted."""

import ctypes
import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from mnist_gpu.engines.torch.kernels import compiler

log = logging.getLogger(__name__)
CHANNELS_LAST = torch.channels_last
TYPES = {torch.float32: ("float", "int32_t"), torch.float64: ("double", "int64_t")}
TOLERANCE = {torch.bfloat16: 2.0**-7, torch.float32: 1e-5, torch.float64: 1e-13}

Kernel = TypeVar("Kernel")


def macros(dtype: torch.dtype, image_dtype: torch.dtype) -> dict[str, str | int]:
    """The C types that a kernel for `dtype` is compiled with."""
    real, integer = TYPES[dtype]
    narrow: dict[str, str | int] = {} if image_dtype == dtype else {"BFLOAT16": 1}
    return {"REAL": real, "INTEGER": integer, **narrow}


def image_type(dtype: torch.dtype, bfloat16: bool) -> torch.dtype:
    """What a kernel for `dtype` keeps images in: bfloat16 if it may and the processor can."""
    can = dtype == torch.float32 and compiler.has_bfloat16()
    return torch.bfloat16 if bfloat16 and can else dtype


def verified(
    name: str, make: Callable[[], Kernel], agrees: Callable[[Kernel], bool]
) -> Kernel | None:
    """A kernel that was made and computes what PyTorch computes; else None, and one warning.

    Args:
        name: of the layer, for the warning.
        make: may raise `compiler.Unavailable`.
        agrees: whether it computes what PyTorch's operations compute.
    """
    try:
        kernel = make()
        if not agrees(kernel):
            raise compiler.Unavailable("it does not compute what PyTorch computes")
    except compiler.Unavailable as why:
        log.warning(
            "%s: our own kernel is not used: %s. PyTorch's take its place: the same, but slower",
            name,
            why,
        )
        return None
    return kernel


def call(
    function: Callable[..., object],
    tensors: Sequence[Tensor | None],
    numbers: Sequence[int | float],
    images: int,
) -> None:
    """Call `function(tensors..., numbers..., images, threads)`; None becomes a null pointer."""
    pointers = [ctypes.c_void_p(None if t is None else t.data_ptr()) for t in tensors]
    values = [ctypes.c_int64(n) if isinstance(n, int) else ctypes.c_double(n) for n in numbers]
    function(*pointers, *values, ctypes.c_int(images), ctypes.c_int(torch.get_num_threads()))


def whole_numbers(generator: torch.Generator, dtype: torch.dtype, *shape: int) -> Tensor:
    """Small whole numbers, which survive any rounding of a kernel; images channels-last."""
    drawn = torch.randint(-3, 4, shape, generator=generator).to(dtype)
    return drawn.contiguous(memory_format=CHANNELS_LAST) if len(shape) == 4 else drawn


def close(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> bool:
    """Whether each is the other up to rounding, by the largest of its numbers."""
    return all(
        bool((one - other).abs().max() <= TOLERANCE[one.dtype] * other.abs().max())
        for one, other in zip(found, wanted, strict=True)
    )
