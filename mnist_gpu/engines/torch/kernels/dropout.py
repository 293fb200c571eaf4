"""Which numbers a dropout keeps, as random bits with exactly the declared probability.

A Bernoulli draw by floating-point numbers is serial on a CPU and costs more than the layer. A rate
that is a multiple of 1/256 (0.25, 0.5) takes as many random bits as its fraction has digits: two
for 1/4, one for 1/2. Where the digits of what is kept say 1, the bits are joined by OR, else by
AND, the last digit first: 64 numbers at a time, and exact.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

DIGITS = 8
LEAST_INT64 = -(2**63)


def in_few_bits(rate: float) -> bool:
    """Whether few random bits are enough to drop with exactly this probability."""
    return 0 < rate < 1 and (rate * 2**DIGITS).is_integer()


def keep_bits(count: int, rate: float) -> Tensor:
    """A bit for each of `count` numbers, 0 with probability `rate`: whole words of them, as bytes,
    the lowest bit of a byte first; from PyTorch's default generator.

    Args:
        count: of numbers.
        rate: `in_few_bits`.
    """
    places = digits(rate)
    # from the least number on, without an upper bound, means all 64 bits
    random_words = torch.empty(len(places), -(-count // 64), dtype=torch.int64)
    random_words.random_(LEAST_INT64, None)
    return join(random_words.unbind(), places).view(torch.uint8)


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


def digits(rate: float) -> list[bool]:
    """The binary digits of what is kept, the last 1 first."""
    kept = int((1 - rate) * 2**DIGITS)
    places = [bool(kept >> place & 1) for place in range(DIGITS)]
    return places[places.index(True) :]
