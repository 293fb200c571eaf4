"""Dropout masks from random bits, with exactly the declared probability.

A Bernoulli draw by floating-point numbers is serial on a CPU and costs more than the layer. Here a
rate that is a multiple of 1/256 (0.25, 0.5) takes as many random bits as its fraction has digits:
two for 1/4, one for 1/2. Where the digits of what is kept say 1, the bits are joined by OR, else by
AND, the last digit first: 64 numbers at a time, and exact. Any other rate (0.2) compares a random
63-bit word with `rate * 2**63`, which is a whole number for every float64 rate from 2**-10 up: the
probability is the declared float64 number, to the bit.

Metal draws whole numbers of 32 bits at most, so there uniform float32 numbers are compared with the
rate: exact for 0.25 and 0.5, within 2**-24 for others.
"""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

DIGITS = 8
WORDS = 2**63


def keep_mask(
    like: Tensor, rate: float, generator: torch.Generator, from_bits: bool = True
) -> Tensor:
    """0 with probability `rate`, else 1 / (1 - rate): shape, type and strides of `like`.

    Args:
        like: dense.
        rate: the probability of a zero.
        generator: on the device of `like`.
        from_bits: whether to use random bits rather than float32 numbers.
    """
    scale = 1.0 / (1.0 - rate)
    if not from_bits:
        drawn = torch.empty_like(like, dtype=torch.float32).uniform_(generator=generator)
        return (drawn >= rate).to(like.dtype).mul_(scale)
    count = like.numel()
    if in_few_bits(rate):
        kept = kept_bits(count, rate, generator)
        bit, value = _each_bit(like.device, like.dtype, scale)
        mask = ((kept.unsqueeze(1) & bit) * value).view(-1)[:count]
    else:
        mask = (words(count, generator) >= threshold(rate)).to(like.dtype).mul_(scale)
    return mask.as_strided(like.shape, like.stride())


def kept_bits(count: int, rate: float, generator: torch.Generator) -> Tensor:
    """A bit for each of `count` numbers, 0 with probability `rate`: whole words of them, as bytes,
    the lowest bit of a byte first.

    Args:
        count: of numbers.
        rate: `in_few_bits`.
        generator: on the device where the bits are wanted.
    """
    words = -(-count // 64)
    places = digits(rate)
    drawn = torch.empty(len(places), words, dtype=torch.int64, device=generator.device)
    # from -2**63 on means all 64 bits
    drawn.random_(-WORDS, None, generator=generator)
    return join(drawn.unbind(), places).view(torch.uint8)


def join(random: Sequence[Tensor], places: Sequence[bool]) -> Tensor:
    """Bits that are 1 with the probability that has `places` for binary digits.

    Args:
        random: whole numbers of independent, even bits, as many tensors as places.
        places: the last, a 1, first (`digits`).
    """
    kept, *rest = random
    for more, digit in zip(rest, places[1:], strict=True):
        kept = kept | more if digit else kept & more
    return kept


def in_few_bits(rate: float) -> bool:
    """Whether few random bits are enough to drop with exactly this probability."""
    return 0 < rate < 1 and (rate * 2**DIGITS).is_integer()


def words(count: int, generator: torch.Generator) -> Tensor:
    """A random 63-bit word for each of `count` numbers, to compare with `threshold`: int64."""
    drawn = torch.empty(count, dtype=torch.int64, device=generator.device)
    return drawn.random_(generator=generator)


def threshold(rate: float) -> int:
    """A random 63-bit word below it means a zero."""
    return int(rate * WORDS)


def digits(rate: float) -> list[bool]:
    """The binary digits of what is kept, the last 1 first."""
    kept = int((1 - rate) * 2**DIGITS)
    places = [bool(kept >> place & 1) for place in range(DIGITS)]
    return places[places.index(True) :]


@cache
def _each_bit(device: torch.device, dtype: torch.dtype, scale: float) -> tuple[Tensor, Tensor]:
    """The bits of a byte, and what each of them has to be multiplied by to become `scale`."""
    bits = 2 ** torch.arange(8, device=device)
    return bits.to(torch.uint8), (scale / bits.double()).to(dtype)
