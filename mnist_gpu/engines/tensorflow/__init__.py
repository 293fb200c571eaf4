"""`engine=tensorflow`: TensorFlow as in its "quickstart for experts": Keras' layers, `tf.data`,
`tf.GradientTape` in a `tf.function`, Keras' metrics."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mnist_gpu.engines.keras import LayersEngine
from mnist_gpu.protocol.workload import EngineFacts, Metrics
from mnist_gpu.timing.timeline import Timeline


class TensorFlowEngine(LayersEngine):
    """A loop over a `tf.data.Dataset`; a step is one call of a `tf.function`."""

    def build(self) -> None:
        self.build_model("tensorflow")
        self.switch_on("tensorflow")
        import tensorflow as tf

        self.tf = tf
        slices = tf.data.Dataset.from_tensor_slices
        with tf.device("CPU"):
            # one copy for all evaluations: `slices` would make one of an array each time
            self.test_images = tf.constant(self.test_images)
            test = slices((self.test_images, self.test_labels))
        self.test_batches = self.pipeline(test.batch(self.workload.batch_size))
        self.loss_object = self.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.loss = self.keras.metrics.Mean()
        self.accuracy = self.keras.metrics.SparseCategoricalAccuracy()
        train_step = self._train_step
        if "resident_data" in self.switches:
            train_step = self._by_index(tf.constant(self.images), tf.constant(self.labels))
            self.rows: tuple[Any, ...] = ()
        else:
            with tf.device("CPU"):
                self.rows = (tf.constant(self.images), tf.constant(self.labels))
        del self.images
        jit_compile = self.switches.get("jit_compile")
        self.train = tf.function(train_step, jit_compile=jit_compile)
        if self.steps > 1:
            self.train = tf.function(self._several(self.train))
        self.test = tf.function(self._test_step, jit_compile=jit_compile)

    def _train_step(self, images: Any, labels: Any) -> None:
        with self.tf.GradientTape() as tape:
            predictions = self.model(images, training=True)
            loss = self.loss_object(labels, predictions)
        gradients = tape.gradient(loss, self.model.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.model.trainable_variables, strict=True))
        self.loss(loss, sample_weight=self.tf.shape(labels)[0])
        self.accuracy(labels, predictions)

    def _test_step(self, images: Any, labels: Any) -> None:
        predictions = self.model(images, training=False)
        loss = self.loss_object(labels, predictions)
        self.loss(loss, sample_weight=self.tf.shape(labels)[0])
        self.accuracy(labels, predictions)

    def _by_index(self, images: Any, labels: Any) -> Any:
        """The step on indices into tensors on the device."""
        gather = self.tf.gather
        return lambda batch: self._train_step(gather(images, batch), gather(labels, batch))

    def _several(self, train: Any) -> Any:
        """Several steps in one graph, on the rows of as many batches."""
        size, tf = self.workload.batch_size, self.tf

        def steps(*rows: Any) -> None:
            # AutoGraph makes a loop of the graph of this
            for start in tf.range(0, tf.shape(rows[0])[0], size):
                train(*[row[start : start + size] for row in rows])

        return steps

    def _batches(self, order: npt.NDArray[np.int64]) -> Iterator[Any]:
        numbers = self.tf.data.Dataset.from_tensor_slices(order)
        batches = numbers.batch(self.workload.batch_size * self.steps)
        gather = self.tf.gather
        if self.rows:
            batches = batches.map(lambda batch: tuple(gather(row, batch) for row in self.rows))
        else:
            batches = batches.map(lambda batch: (batch,))
        yield from self.pipeline(batches)

    def train_on(self, order: npt.NDArray[np.int64]) -> Metrics:
        for batch in self._batches(order):
            self.train(*batch)
        return self._metrics()

    def train_epoch(self, epoch: int, timeline: Timeline) -> Metrics:
        self.restart_dropout(epoch)
        # the last call of several steps may make fewer
        total = self.workload.steps_per_epoch
        made = (min(step, total) for step in count(self.steps, self.steps))
        for batch in timeline.batches(self._batches(self.workload.order(epoch)), made):
            self.train(*batch)
        return self._metrics()

    def evaluate(self) -> Metrics:
        for images, labels in self.test_batches:
            self.test(images, labels)
        return self._metrics()

    def _metrics(self) -> Metrics:
        """Of all steps since the last call."""
        metrics = Metrics(float(self.loss.result()), float(self.accuracy.result()))
        self.loss.reset_state()
        self.accuracy.reset_state()
        return metrics

    def trace(self, steps: int, folder: Path) -> None:
        """A profile for TensorBoard's profile tab, with a trace for Perfetto in it."""
        self.tf.profiler.experimental.start(str(folder))
        self.try_out(np.arange(steps * self.workload.batch_size) % len(self.labels))
        self.tf.profiler.experimental.stop()

    def facts(self) -> EngineFacts:
        return self.facts_of(
            "TensorFlow",
            self.tf.__version__,
            "batches: images in the protocol's order instead of tf.data's shuffle",
            "metrics: the loss of a batch weighs as many images as the batch has",
            compile="tf.function, XLA" if "jit_compile" in self.switches else "tf.function",
        )


ENGINE = TensorFlowEngine
