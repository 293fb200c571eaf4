"""Network, Adam and steps in MLX."""

from collections.abc import Mapping
from math import e, prod
from typing import Any

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from mnist_gpu.engines.mlx.dropout import keep_mask
from mnist_gpu.protocol.network import Layer, relu_after_pool
from mnist_gpu.protocol.workload import Workload

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8

Tree = dict[str, Any]


class Program:
    """Trains one workload; every step is one compiled graph over the whole state.

    Args:
        workload: what to train.
        weights: by name, in MLX's layout, in the type of the parameters.
        images: normalised training images, (n, 28, 28, 1).
        labels: (n,) int32.
    """

    def __init__(
        self,
        workload: Workload,
        weights: Mapping[str, mx.array],
        images: mx.array,
        labels: mx.array,
    ) -> None:
        self.workload = workload
        self.images, self.labels = images, labels
        self.dtype = images.dtype
        self.products = mx.bfloat16 if workload.precision == "bf16-mixed" else self.dtype
        self.layers = relu_after_pool(workload.network.layers)
        zeros = {name: mx.zeros_like(weight) for name, weight in weights.items()}
        self.state: Tree = {
            "weights": dict(weights),
            "adam_m": zeros,
            "adam_v": dict(zeros),
            "step": mx.array(0, dtype=mx.int32),
            "loss_sum": mx.array(0.0, dtype=self.dtype),
            "correct": mx.array(0, dtype=mx.int32),
            "key": mx.random.key(0),
        }
        # MLX's own convolution is made for Metal: on a CPU its gradients take seconds
        self.conv = conv_by_product if mx.default_device() == mx.cpu else conv
        self._step = mx.compile(self._plain_step)
        self.logits = lambda x: self._forward(self.state["weights"], x, None)

    def begin_epoch(self, seed: int) -> None:
        """Restart the dropout stream."""
        self.state["key"] = mx.random.key(seed)

    def run_steps(self, indices: npt.NDArray[np.int64]) -> None:
        """One optimizer step for every batch of `indices`, (n,); waits for the last."""
        on_device = mx.array(indices.astype(np.int32))
        size = self.workload.batch_size
        for start in range(0, len(indices), size):
            batch = on_device[start : start + size]
            self.state = self._step(self.state, self.images[batch], self.labels[batch])
            mx.async_eval(self.state)
        mx.eval(self.state)

    def take_metrics(self) -> tuple[float, int]:
        """Sums of loss and of correct answers since the last call."""
        taken = float(self.state["loss_sum"].item()), int(self.state["correct"].item())
        self.state["loss_sum"] = mx.array(0.0, dtype=self.dtype)
        self.state["correct"] = mx.array(0, dtype=mx.int32)
        return taken

    def steps_made(self) -> int:
        """Optimizer steps made so far."""
        return int(self.state["step"].item())

    def load(self, steps_made: int, columns: Mapping[str, dict[str, mx.array]]) -> None:
        """Continue from weights and moments after `steps_made` steps."""
        self.state |= dict(columns)
        self.state["step"] = mx.array(steps_made, dtype=mx.int32)
        mx.eval(self.state)

    def _plain_step(self, state: Tree, images: mx.array, labels: mx.array) -> Tree:
        key, drop = mx.random.split(state["key"])

        def losses(weights: Mapping[str, mx.array]) -> tuple[mx.array, mx.array]:
            logits = self._forward(weights, images, drop)
            picked = mx.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
            each = log_sum_exp(logits) - picked
            return mx.mean(each), logits

        (loss, logits), gradients = mx.value_and_grad(losses)(state["weights"])
        right = mx.sum(mx.argmax(logits, axis=1) == labels).astype(mx.int32)
        return {
            **self._adam(state, gradients),
            "loss_sum": state["loss_sum"] + loss * len(labels),
            "correct": state["correct"] + right,
            "key": key,
        }

    def _adam(self, state: Tree, gradients: Mapping[str, mx.array]) -> Tree:
        """Kingma & Ba, algorithm 1, epsilon outside the corrected root, as PyTorch has it."""
        step = state["step"] + 1
        power = step.astype(self.dtype)
        correction_1 = 1.0 - mx.power(mx.array(BETA_1, self.dtype), power)
        correction_2 = 1.0 - mx.power(mx.array(BETA_2, self.dtype), power)
        rate = self._number(self.workload.learning_rate) / correction_1
        root_2 = mx.sqrt(correction_2)
        weights, means, squares = {}, {}, {}
        b1, b2 = self._number(BETA_1), self._number(BETA_2)
        for name, gradient in gradients.items():
            m = b1 * state["adam_m"][name] + (1.0 - b1) * gradient
            v = b2 * state["adam_v"][name] + (1.0 - b2) * gradient * gradient
            denominator = mx.sqrt(v) / root_2 + self._number(EPSILON)
            weights[name] = state["weights"][name] - rate * m / denominator
            means[name], squares[name] = m, v
        return {"weights": weights, "adam_m": means, "adam_v": squares, "step": step}

    def _number(self, value: float) -> mx.array:
        return mx.array(value, dtype=self.dtype)

    def _forward(
        self, weights: Mapping[str, mx.array], x: mx.array, key: mx.array | None
    ) -> mx.array:
        """Logits in the type of the parameters; dropout with a key only."""
        x = x.astype(self.products)
        for layer in self.layers:
            if layer.kind == "dropout" and layer.rate and key is not None:
                key, own = mx.random.split(key)
                x = x * keep_mask(x, layer.rate, own)
            else:
                x = self._layer(weights, x, layer)
        return x.astype(self.dtype)

    def _layer(self, weights: Mapping[str, mx.array], x: mx.array, layer: Layer) -> mx.array:
        def own(part: str) -> mx.array:
            return weights[f"{layer.name}.{part}"].astype(self.products)

        match layer.kind:
            case "conv":
                x = self.conv(x, own("weight"), layer.padding) + own("bias")
            case "linear":
                x = mx.addmm(own("bias"), x, own("weight").T)
            case "relu":
                x = mx.maximum(x, 0)
            case "max_pool":
                x = max_pool(x, layer.size)
            case "flatten":
                x = x.reshape(len(x), prod(x.shape[1:]))
        return x


def conv(x: mx.array, weight: mx.array, padding: int) -> mx.array:
    """Stride 1: (n, h, w, in) and (out, kh, kw, in) to (n, h', w', out)."""
    return mx.conv2d(x, weight, padding=padding)


def conv_by_product(x: mx.array, weight: mx.array, padding: int) -> mx.array:
    """The same as one matrix product over all patches."""
    if padding:
        x = mx.pad(x, [(0, 0), (padding, padding), (padding, padding), (0, 0)])
    n, height, width, _ = x.shape
    filters, kernel_height, kernel_width, _ = weight.shape
    rows, columns = height - kernel_height + 1, width - kernel_width + 1
    patches = mx.concatenate(
        [
            x[:, i : i + rows, j : j + columns]
            for i in range(kernel_height)
            for j in range(kernel_width)
        ],
        axis=3,
    )
    product = patches.reshape(n * rows * columns, -1) @ weight.reshape(filters, -1).T
    return product.reshape(n, rows, columns, filters)


def log_sum_exp(logits: mx.array) -> mx.array:
    """Of each row, (n, 10) -> (n,)."""
    if logits.dtype != mx.float64:
        return mx.logsumexp(logits, axis=1)
    # MLX's exp of a float64 is as good as a float32's; its power is not so
    top = mx.stop_gradient(mx.max(logits, axis=1, keepdims=True))
    powers = mx.power(mx.array(e, dtype=mx.float64), logits - top)
    return mx.log(mx.sum(powers, axis=1)) + top[:, 0]


def max_pool(x: mx.array, size: int) -> mx.array:
    """The maximum of square windows that do not overlap; (n, h, w, c), what is over is cut off."""
    n, height, width, channels = x.shape
    rows, columns = height // size, width // size
    x = x[:, : rows * size, : columns * size]
    return x.reshape(n, rows, size, columns, size, channels).max(axis=(2, 4))
