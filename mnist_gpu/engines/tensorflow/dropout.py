"""Dropout masks from TensorFlow's stateless random bits, with exactly the declared probability."""

from math import prod

import tensorflow as tf


def keep_mask(
    like: tf.Tensor, rate: float, seed: tf.Tensor, number: tf.Tensor, position: int
) -> tf.Tensor:
    """0 with probability `rate`, else 1 / (1 - rate): shape and type of `like`.

    A rate that is a multiple of 1/256 compares one random byte, any other a random 64-bit word,
    with the rate as a whole number of them; both are the declared probability to the bit.

    Args:
        like: of a shape known when tracing.
        rate: the probability of a zero.
        seed: of the epoch's stream, int64.
        number: of the step within the epoch, int64.
        position: of the layer in the network.
    """
    key = tf.stack([seed, number * 1024 + position])
    count = prod(like.shape)
    if (rate * 256).is_integer():
        words = tf.random.stateless_uniform((-(-count // 4),), key, None, None, tf.uint32)
        random = tf.reshape(tf.bitcast(words, tf.uint8), (-1,))[:count]
        kept = tf.cast(random, tf.int32) >= int(rate * 256)
    else:
        words = tf.random.stateless_uniform((count,), key, None, None, tf.uint64)
        # 63 bits: TensorFlow compares signed words faster
        random = tf.bitcast(tf.bitwise.right_shift(words, tf.constant(1, tf.uint64)), tf.int64)
        kept = random >= int(rate * 2**63)
    scaled = tf.cast(tf.reshape(kept, like.shape), like.dtype)
    return scaled * tf.cast(1.0 / (1.0 - rate), like.dtype)
