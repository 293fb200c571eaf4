"""Max-pooling whose gradient is worked out by comparison: TensorFlow's own kernel for it takes a
quarter of a step on a CPU."""

from collections.abc import Callable

import tensorflow as tf


def max_pool(x: tf.Tensor, size: int) -> tf.Tensor:
    """The maximum of square windows that do not overlap; (n, h, w, c), what is over is cut off.

    Equal maxima share the gradient; where they come from equal patches, as in the margins of
    digits, that is the same as giving it to the first.
    """

    @tf.custom_gradient
    def pool(images: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        pooled = tf.nn.max_pool2d(images, size, size, "VALID")
        return pooled, lambda gradient: _spread(images, pooled, gradient, size)

    pooled: tf.Tensor = pool(x)
    return pooled


def _spread(x: tf.Tensor, pooled: tf.Tensor, gradient: tf.Tensor, size: int) -> tf.Tensor:
    height, width, channels = x.shape[1:]
    rows, columns = height // size, width // size
    windows = (-1, size, columns, size, channels)  # five dimensions: TensorFlow is slow beyond

    def once_a_window(small: tf.Tensor) -> tf.Tensor:
        return tf.reshape(small, (-1, 1, columns, 1, channels))

    inside = x[:, : rows * size, : columns * size]
    hit = tf.cast(tf.equal(tf.reshape(inside, windows), once_a_window(pooled)), x.dtype)
    shape = (-1, rows * size, columns * size, channels)
    hits = tf.nn.avg_pool2d(tf.reshape(hit, shape), size, size, "VALID") * float(size * size)
    whole = tf.reshape(hit * once_a_window(gradient / hits), shape)
    if height % size or width % size:
        whole = tf.pad(whole, [[0, 0], [0, height % size], [0, width % size], [0, 0]])
    return whole
