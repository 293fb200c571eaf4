"""Network, Adam and steps in TensorFlow's primitives."""

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt
import tensorflow as tf

from mnist_gpu.engines.tensorflow import pooling
from mnist_gpu.engines.tensorflow.dropout import keep_mask
from mnist_gpu.protocol.network import Layer, relu_after_pool
from mnist_gpu.protocol.workload import Workload

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


class Program:
    """Trains one workload, a block of optimizer steps a call.

    Args:
        workload: what to train.
        weights: by name, in TensorFlow's layout, in the type of the parameters.
        images: normalised training images, (n, 28, 28, 1) on the device.
        labels: (n,) int64 on the device.
    """

    def __init__(
        self,
        workload: Workload,
        weights: Mapping[str, npt.NDArray[Any]],
        images: tf.Tensor,
        labels: tf.Tensor,
    ) -> None:
        self.workload = workload
        self.images, self.labels = images, labels
        self.products = tf.bfloat16 if workload.precision == "bf16-mixed" else images.dtype
        self.weights = {name: tf.Variable(array) for name, array in weights.items()}
        self.means = {name: tf.Variable(tf.zeros_like(w)) for name, w in self.weights.items()}
        self.squares = {name: tf.Variable(tf.zeros_like(w)) for name, w in self.weights.items()}
        self.step = tf.Variable(0, dtype=tf.int64)
        self.loss_sum = tf.Variable(0.0, dtype=images.dtype)
        self.correct = tf.Variable(0, dtype=tf.int64)
        on_cpu = "CPU" in images.device
        self.pool = pooling.max_pool if on_cpu else _max_pool
        self.layers = relu_after_pool(workload.network.layers)
        self.run = tf.function(self._run, reduce_retracing=False)
        self.logits = tf.function(lambda x: self._forward(x, None))

    def columns(self) -> dict[str, dict[str, tf.Variable]]:
        """Everything that makes up the state, by the state's kinds."""
        return {"weights": self.weights, "adam_m": self.means, "adam_v": self.squares}

    def steps_made(self) -> int:
        """Optimizer steps made so far."""
        return int(self.step.numpy())

    def take_metrics(self) -> tuple[float, int]:
        """Sums of loss and of correct answers since the last call; waits for the device."""
        taken = float(self.loss_sum.numpy()), int(self.correct.numpy())
        self.loss_sum.assign(0.0)
        self.correct.assign(0)
        return taken

    def _run(self, indices: tf.Tensor, seed: tf.Tensor, first_step: tf.Tensor) -> None:
        """One optimizer step for every batch of `indices`.

        Args:
            indices: (n,) int64; n is known when tracing.
            seed: of the epoch's dropout stream, int64.
            first_step: how many steps of the epoch came before, int64.
        """
        size = self.workload.batch_size
        whole, rest = divmod(int(indices.shape[0]), size)
        if whole:
            batches = tf.reshape(indices[: whole * size], (whole, size))
            for number in tf.range(whole):
                tf.autograph.experimental.set_loop_options(parallel_iterations=1)
                self._step(batches[number], seed, first_step + tf.cast(number, tf.int64))
        if rest:
            self._step(indices[whole * size :], seed, first_step + whole)

    def _step(self, batch: tf.Tensor, seed: tf.Tensor, number: tf.Tensor) -> None:
        images, labels = tf.gather(self.images, batch), tf.gather(self.labels, batch)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(list(self.weights.values()))
            logits = self._forward(images, (seed, number))
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, list(self.weights.values()))
        self._adam(gradients)
        self.loss_sum.assign_add(tf.reduce_sum(losses))
        right = tf.equal(tf.argmax(logits, 1), labels)
        self.correct.assign_add(tf.reduce_sum(tf.cast(right, tf.int64)))

    # AutoGraph cannot read `match`, and has nothing to convert in here
    @tf.autograph.experimental.do_not_convert
    def _forward(self, x: tf.Tensor, stream: tuple[tf.Tensor, tf.Tensor] | None) -> tf.Tensor:
        """Logits in the type of the parameters; dropout with a stream only."""
        x = tf.cast(x, self.products)
        for position, layer in enumerate(self.layers):
            x = self._layer(x, layer, position, stream)
        return tf.cast(x, self.images.dtype)

    def _layer(
        self, x: tf.Tensor, layer: Layer, position: int, stream: tuple[tf.Tensor, tf.Tensor] | None
    ) -> tf.Tensor:
        match layer.kind:
            case "conv":
                if layer.padding:
                    margin = [layer.padding] * 2
                    x = tf.pad(x, [[0, 0], margin, margin, [0, 0]])
                # oneDNN takes over the gradients of a convolution without explicit padding only
                x = tf.nn.conv2d(x, self._weight(layer, "weight"), strides=1, padding="VALID")
                x = tf.nn.bias_add(x, self._weight(layer, "bias"))
            case "linear":
                x = tf.linalg.matmul(x, self._weight(layer, "weight"))
                x = tf.nn.bias_add(x, self._weight(layer, "bias"))
            case "relu":
                x = tf.nn.relu(x)
            case "max_pool":
                x = self.pool(x, layer.size)
            case "flatten":
                x = tf.reshape(x, (x.shape[0], -1))
            case "dropout" if layer.rate and stream is not None:
                x = x * keep_mask(x, layer.rate, *stream, position)
        return x

    def _weight(self, layer: Layer, part: str) -> tf.Tensor:
        return tf.cast(self.weights[f"{layer.name}.{part}"], self.products)

    def _adam(self, gradients: list[tf.Tensor]) -> None:
        """PyTorch's Adam through TensorFlow's kernel.

        The kernel has "epsilon hat" (Kingma & Ba, end of section 2); an epsilon that shrinks with
        the bias correction makes it algorithm 1, epsilon outside the corrected root.
        """
        dtype = self.images.dtype
        step = tf.cast(self.step.assign_add(1), tf.float64)
        # the powers are those of the numbers that the kernel sees
        beta_1, beta_2 = tf.constant(BETA_1, dtype), tf.constant(BETA_2, dtype)
        correction_1 = 1.0 - tf.pow(tf.cast(beta_1, tf.float64), step)
        root_2 = tf.sqrt(1.0 - tf.pow(tf.cast(beta_2, tf.float64), step))
        rate = tf.cast(self.workload.learning_rate * root_2 / correction_1, dtype)
        epsilon = tf.cast(EPSILON * root_2, dtype)
        nothing = tf.constant(0.0, dtype)
        for name, gradient in zip(self.weights, gradients, strict=True):
            tf.raw_ops.ResourceApplyAdam(
                var=self.weights[name].handle,
                m=self.means[name].handle,
                v=self.squares[name].handle,
                beta1_power=nothing,
                beta2_power=nothing,
                lr=rate,
                beta1=beta_1,
                beta2=beta_2,
                epsilon=epsilon,
                grad=gradient,
            )


def _max_pool(x: tf.Tensor, size: int) -> tf.Tensor:
    return tf.nn.max_pool2d(x, size, size, "VALID")
