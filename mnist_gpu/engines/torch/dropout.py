"""Dropout masks from random bits, with exactly the declared probability.

A Bernoulli draw by floating-point numbers is serial on a CPU and costs more than the layer. Here a
rate that is a multiple of 1/256 (0.25, 0.5) compares one random byte with `rate * 256`: exact. Any
other rate (0.2) compares a random 63-bit word with `rate * 2**63`, which is a whole number for
every float64 rate from 2**-10 up: the probability is the declared float64 number, to the bit.

Metal draws whole numbers of 32 bits at most, so there uniform float32 numbers are compared with the
rate: exact for 0.25 and 0.5, within 2**-24 for others.
"""

import torch
from torch import Tensor

BYTES = 256
WORDS = 2**63


def keep_mask(
    like: Tensor, rate: float, generator: torch.Generator, from_bits: bool = True
) -> Tensor:
    """0 with probability `rate`, else 1 / (1 - rate): shape, type and strides of `like`.

    Args:
        like: dense.
        rate: the probability of a zero.
        generator: on the device of `like`.
        from_bits: whether to compare random bits rather than float32 numbers.
    """
    if from_bits:
        kept = random_bits(like, rate, generator) >= threshold(rate)
    else:
        kept = torch.empty_like(like, dtype=torch.float32).uniform_(generator=generator) >= rate
    return kept.to(like.dtype).mul_(1.0 / (1.0 - rate))


def random_bits(like: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """As many random bytes or words as `like` has numbers, in its memory order."""
    count = like.numel()
    if threshold(rate) < BYTES and in_bytes(rate):
        words = torch.empty(-(-count // 8), dtype=torch.int64, device=like.device)
        # from -2**63 on means all 64 bits
        words.random_(-WORDS, None, generator=generator)
        random = words.view(torch.uint8)[:count]
    else:
        random = torch.empty(count, dtype=torch.int64, device=like.device)
        random.random_(generator=generator)
    return random.as_strided(like.shape, like.stride())


def threshold(rate: float) -> int:
    """A random number below it means a zero."""
    return int(rate * BYTES) if in_bytes(rate) else int(rate * WORDS)


def in_bytes(rate: float) -> bool:
    """Whether a byte is enough to drop with exactly this probability."""
    return (rate * BYTES).is_integer()
