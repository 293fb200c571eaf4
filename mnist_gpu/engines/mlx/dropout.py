"""Dropout masks from MLX's random bits, with exactly the declared probability."""

from math import prod

import mlx.core as mx


def keep_mask(like: mx.array, rate: float, key: mx.array) -> mx.array:
    """0 with probability `rate`, else 1 / (1 - rate): shape and type of `like`.

    A rate that is a multiple of 1/256 compares one random byte, any other a random 63-bit word,
    with the rate as a whole number of them; both are the declared probability to the bit. The bits
    are those that `mx.random.split` makes keys of.
    """
    count = prod(like.shape)
    if (rate * 256).is_integer():
        random = mx.random.split(key, -(-count // 8)).reshape(-1).view(mx.uint8)[:count]
        kept = random >= int(rate * 256)
    else:
        halves = mx.random.split(key, count).astype(mx.uint64)
        words = (halves[:, 0] << 31) | (halves[:, 1] >> 1)
        kept = words >= mx.array(int(rate * 2**63), dtype=mx.uint64)
    scale = mx.array(1.0 / (1.0 - rate), dtype=like.dtype)
    return kept.reshape(like.shape).astype(like.dtype) * scale
