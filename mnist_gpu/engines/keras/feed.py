"""How the epoch's batches reach `model.fit`, by backend."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from typing_extensions import override

from mnist_gpu.engines.keras.model import ResidentModel

Order = npt.NDArray[np.int64]


class Feed(ABC):
    """Training data and the way its batches are named.

    Args:
        images: (n, 28, 28, 1), normalised.
        labels: (n,) int64.
        batch_size: of the protocol; the last batch may be smaller.
    """

    model_class: type[keras.Model] = ResidentModel

    def __init__(self, images: npt.NDArray[Any], labels: Order, batch_size: int) -> None:
        self.images, self.labels, self.batch_size = images, labels, batch_size

    def attach(self, model: Any) -> None:
        """Hand the data to the model that will be trained."""
        model.hold(self.images, self.labels)

    @abstractmethod
    def batches(self, order: Order, ends: int | None) -> Any:
        """What `fit` iterates over: every batch of `order`, or the first and last `ends`."""

    def _starts(self, n: int, ends: int | None) -> list[int]:
        starts = list(range(0, n, self.batch_size))
        if ends is None or 2 * ends >= len(starts):
            return starts
        return starts[:ends] + starts[-ends:]


class TensorFlowFeed(Feed):
    """Batches of indices from a `tf.data` pipeline that is built once."""

    def __init__(self, images: npt.NDArray[Any], labels: Order, batch_size: int) -> None:
        super().__init__(images, labels, batch_size)
        import tensorflow as tf

        with tf.device("/CPU:0"):
            self._order = tf.Variable(tf.zeros(len(labels), tf.int64), shape=(None,))
        self._pipelines: dict[tuple[int, ...], Any] = {}

    @override
    def batches(self, order: Order, ends: int | None) -> Any:
        self._order.assign(order)
        starts = tuple(self._starts(len(order), ends))
        if starts not in self._pipelines:
            self._pipelines[starts] = self._pipeline(starts)
        return self._pipelines[starts]

    def _pipeline(self, starts: tuple[int, ...]) -> Any:
        import tensorflow as tf

        cut = lambda start: self._order[start : start + self.batch_size]  # noqa: E731
        with tf.device("/CPU:0"):
            pipeline = tf.data.Dataset.from_tensor_slices(np.array(starts)).map(cut).prefetch(2)
            # an epoch's end waits for the autotuner to wake, as long as the epoch took so far
            options = tf.data.Options()
            options.autotune.enabled = False
            return pipeline.with_options(options)


class ArrayFeed(Feed):
    """Batches of images and labels, for a backend whose step cannot hold the data."""

    model_class = keras.Model

    @override
    def attach(self, model: Any) -> None:
        """Nothing to hand over."""

    @override
    def batches(self, order: Order, ends: int | None) -> Iterator[tuple[Any, Any]]:
        for start in self._starts(len(order), ends):
            batch = order[start : start + self.batch_size]
            yield self.images[batch], self.labels[batch]


def choose(backend: str, images: npt.NDArray[Any], labels: Order, batch_size: int) -> Feed:
    """The feed that suits the backend."""
    feed: type[Feed] = TensorFlowFeed if backend == "tensorflow" else ArrayFeed
    return feed(images, labels, batch_size)
