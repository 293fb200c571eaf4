"""`engine=mlx`: MLX as in its own MNIST example: `mlx.nn`, `mlx.optimizers`, a compiled step; on
the Metal GPU of a Mac, an NVIDIA GPU or any CPU."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from importlib import metadata
from math import e
from typing import Any

import mlx.core as mx
import mlx.optimizers as optim
import numpy as np
import numpy.typing as npt
from mlx import nn
from mlx.utils import tree_flatten, tree_map, tree_unflatten

from mnist_gpu.engines.base import LoopEngine, switched_on
from mnist_gpu.errors import UserError
from mnist_gpu.protocol.dataset import normalise
from mnist_gpu.protocol.layout import mlx_layout
from mnist_gpu.protocol.network import Network
from mnist_gpu.protocol.streams import dropout_seed
from mnist_gpu.protocol.workload import EngineFacts, Metrics, State
from mnist_gpu.timing.timeline import Timeline

POSSIBLE = {
    "cpu": ("float32", "float64"),
    "mps": ("float32", "bf16-mixed"),
    "cuda": ("float32", "tf32", "bf16-mixed"),
}
NAMES = {"mps": "the Metal GPU of Apple silicon", "cuda": "an NVIDIA GPU"}
DEVIATIONS = (
    "initial weights: the protocol's, drawn in NumPy, instead of MLX's",
    "batches: images in the protocol's order",
    "optimizer: Adam(bias_correction=True), which is off by default",
    "dropout: mx.random.seed each epoch, from (seed, epoch)",
)
EXACT = (
    "convolution and loss: by matrix products and mx.power, as MLX's own of a float64 are as good"
    " as a float32's"
)
NO_TF32 = "products: MLX_ENABLE_TF32=0; newer GPUs round to TF32 by default"
EVALUATION_BATCH = 500


class MLXEngine(LoopEngine):
    """A loop over batches indexed out of one `mx.array`; every step is one compiled graph."""

    def build(self) -> None:
        workload, dataset = self.workload, self.workload.dataset
        self.kind = choose(self.accelerator, workload.precision)
        # read at the first product
        os.environ["MLX_ENABLE_TF32"] = "1" if workload.precision == "tf32" else "0"
        mx.set_default_device(mx.cpu if self.kind == "cpu" else mx.gpu)
        # arrays lie where the device computes, so there is nothing that resident data would add
        switched_on(self.options, "mlx", self.kind, {})
        self.dtype = np.dtype("float64" if workload.precision == "float64" else "float32")
        self.images = self._images(dataset.train_images)
        self.labels = mx.array(dataset.train_labels)
        self.test_images = self._images(dataset.test_images)
        self.layout = mlx_layout(workload.network)
        self.model = build_model(workload.network, exact=self.dtype == np.float64)
        self.forward: Callable[[mx.array], mx.array] = self.model
        if workload.precision == "bf16-mixed":
            self.forward = partial(_in_bfloat16, self.model)
        # MLX's names of the parameters, such as layers.0.weight, by the protocol's
        theirs = dict(tree_flatten(self.model.parameters()))
        names = [name for name, _, _ in workload.network.parameters()]
        self.names = dict(zip(names, theirs, strict=True))
        weights = workload.initial_weights
        self.model.load_weights([(self.names[n], self._inside(n, weights[n])) for n in self.names])
        self.optimizer = optim.Adam(workload.learning_rate, bias_correction=True)
        self.optimizer.learning_rate = _placed(np.array(workload.learning_rate, self.dtype))
        self.optimizer.init(self.model.trainable_parameters())
        self.optimizer.state["step"] = self._step(0)
        self.train_step = self._compiled_step()

    def _images(self, images: npt.NDArray[np.uint8]) -> mx.array:
        # the protocol's preprocessing is in float32, whatever is trained in
        return _placed(normalise(images)[..., None].astype(self.dtype, copy=False))

    def _compiled_step(self) -> Any:
        def loss_fn(images: mx.array, labels: mx.array) -> tuple[mx.array, mx.array]:
            logits = self.forward(images)
            return _cross_entropy(logits, labels), logits

        loss_and_grad = nn.value_and_grad(self.model, loss_fn)
        state = [self.model.state, self.optimizer.state, mx.random.state]

        @partial(mx.compile, inputs=state, outputs=state)
        def step(images: mx.array, labels: mx.array) -> tuple[mx.array, mx.array]:
            (loss, logits), gradients = loss_and_grad(images, labels)
            self.optimizer.update(self.model, gradients)
            return loss, (mx.argmax(logits, axis=1) == labels).sum()

        return step

    def _batches(self, order: npt.NDArray[np.int64]) -> Iterator[tuple[mx.array, mx.array]]:
        indices = mx.array(order.astype(np.uint32))
        for start in range(0, len(order), self.workload.batch_size):
            batch = indices[start : start + self.workload.batch_size]
            yield self.images[batch], self.labels[batch]

    def _train(self, batches: Iterator[tuple[mx.array, mx.array]], seed: int) -> Metrics:
        mx.random.seed(seed)
        self.model.train()
        loss_sum, correct, seen = 0.0, 0, 0
        for images, labels in batches:
            loss, right = self.train_step(images, labels)
            # MLX is lazy: without it a graph of all steps would grow until memory ends
            mx.eval(loss, right, self.model.state, self.optimizer.state)
            loss_sum += loss.item() * len(labels)
            correct += right.item()
            seen += len(labels)
        return Metrics(loss_sum / seen, correct / seen)

    def warm_up(self) -> None:
        before = self.state()
        size, n = self.workload.batch_size, len(self.labels)
        # a batch of each size: the last one of an epoch is smaller
        self._train(self._batches(np.arange(n)[: size + n % size]), seed=0)
        self._logits(EVALUATION_BATCH)
        self.load_state(before)

    def train_epoch(self, epoch: int, timeline: Timeline) -> Metrics:
        batches = timeline.batches(self._batches(self.workload.order(epoch)))
        return self._train(batches, dropout_seed(self.workload.seed, epoch))

    def evaluate(self) -> Metrics:
        return Metrics.of_logits(self._logits(), self.workload.dataset.test_labels.astype(np.int64))

    def predict(self) -> npt.NDArray[np.float32]:
        return self._logits().astype(np.float32)

    def _logits(self, count: int | None = None) -> npt.NDArray[Any]:
        self.model.eval()
        logits = []
        for start in range(0, count or len(self.test_images), EVALUATION_BATCH):
            images = self.test_images[start : start + EVALUATION_BATCH]
            logits.append(np.array(self.forward(images)))
        return np.concatenate(logits)

    def synchronise(self) -> None:
        mx.synchronize()

    def state(self) -> State:
        state: State = {"adam_step": np.array(self.optimizer.step.item(), dtype=np.int64)}
        arrays = dict(tree_flatten([self.model.parameters(), self.optimizer.state]))
        for key, (name, theirs) in self._keys().items():
            state[key] = self.layout.outside(name, np.array(arrays[theirs]))
        return state

    def load_state(self, state: State) -> None:
        arrays = [
            (theirs, self._inside(name, state[key])) for key, (name, theirs) in self._keys().items()
        ]
        parameters, moments = tree_unflatten(arrays)
        self.model.update(parameters)
        # in place: the compiled step holds on to this dictionary
        self.optimizer.state.update(moments, step=self._step(int(state["adam_step"])))
        mx.eval(self.model.state, self.optimizer.state)

    def _keys(self) -> dict[str, tuple[str, str]]:
        """By key of the state: a parameter's name, and where the array is in
        [model.parameters(), optimizer.state]."""
        found = {}
        for name, theirs in self.names.items():
            found[f"weights/{name}"] = name, f"0.{theirs}"
            found[f"adam_m/{name}"] = name, f"1.{theirs}.m"
            found[f"adam_v/{name}"] = name, f"1.{theirs}.v"
        return found

    def _step(self, made: int) -> mx.array:
        # a power of the betas is of the step's type, float32 for a whole number
        return mx.array(made, dtype=mx.float64 if self.dtype == np.float64 else mx.uint64)

    def _inside(self, name: str, array: npt.NDArray[Any]) -> mx.array:
        return _placed(self.layout.inside(name, array).astype(self.dtype))

    def facts(self) -> EngineFacts:
        precision, on_gpu = self.workload.precision, self.kind != "cpu"
        label = self.kind
        if on_gpu and hasattr(mx, "device_info"):
            label = str(mx.device_info().get("device_name", label))
        deviations = [*DEVIATIONS]
        if on_gpu and precision == "float32":
            deviations.append(NO_TF32)
        if precision == "float64":
            deviations.append(EXACT)
        return EngineFacts(
            framework="MLX",
            framework_version=metadata.version("mlx"),
            backend="mlx",
            precision=precision,
            accelerator=self.kind,
            accelerator_name=label,
            compile="mx.compile",
            deterministic=not on_gpu,
            deviations_from_defaults=deviations,
        )


def choose(accelerator: str, precision: str) -> str:
    """The kind of device for `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        UserError: it is not there, or cannot do the precision; the message says what to use.
    """
    gpus = {"mps": mx.metal.is_available(), "cuda": hasattr(mx, "cuda") and mx.cuda.is_available()}
    present = [kind for kind, here in gpus.items() if here] + ["cpu"]
    kind = present[0] if accelerator == "auto" else accelerator
    if kind not in present:
        raise UserError(
            f"platform.accelerator={accelerator}: this MLX does not see {NAMES[accelerator]};"
            " use platform=cpu instead"
        )
    if precision not in POSSIBLE[kind]:
        raise UserError(
            f"precision={precision}: with MLX on {kind} choose from {', '.join(POSSIBLE[kind])}"
        )
    return kind


def build_model(network: Network, exact: bool) -> nn.Sequential:
    """The layers of `network` from (n, 28, 28, 1) to (n, 10) logits, with MLX's own weights;
    `exact` where float64 is to be computed as such."""
    return nn.Sequential(*_layers(network, ExactConv2d if exact else nn.Conv2d))


def _layers(
    network: Network, convolution: type[nn.Conv2d]
) -> Iterator[Callable[[mx.array], mx.array]]:
    for layer in network.layers:
        match layer.kind:
            case "conv":
                channels = layer.input_shape[0]
                yield convolution(channels, layer.filters, layer.kernel, padding=layer.padding)
            case "linear":
                yield nn.Linear(layer.input_shape[0], layer.units)
            case "relu":
                yield nn.ReLU()
            case "max_pool":
                yield nn.MaxPool2d(layer.size)
            case "dropout":
                yield nn.Dropout(layer.rate)
            case "flatten":
                yield lambda x: x.flatten(1)


class ExactConv2d(nn.Conv2d):
    """A convolution as a sum of matrix products; MLX's own is as good as float32's on a CPU."""

    def __call__(self, x: mx.array) -> mx.array:
        vertical, horizontal = self.padding
        x = mx.pad(x, [(0, 0), (vertical, vertical), (horizontal, horizontal), (0, 0)])
        _, height, width, _ = self.weight.shape
        rows, columns = x.shape[1] - height + 1, x.shape[2] - width + 1
        return self.bias + sum(
            x[:, i : i + rows, j : j + columns] @ self.weight[:, i, j].T
            for i in range(height)
            for j in range(width)
        )


def _in_bfloat16(model: nn.Module, images: mx.array) -> mx.array:
    """Logits in float32, all layers in bfloat16; the weights stay as they are."""
    weights = model.parameters()
    model.update(tree_map(lambda weight: weight.astype(mx.bfloat16), weights))
    logits = model(images.astype(mx.bfloat16)).astype(mx.float32)
    model.update(weights)
    return logits


def _cross_entropy(logits: mx.array, labels: mx.array) -> mx.array:
    """Mean over the batch: (n, 10), (n,) to a scalar."""
    if logits.dtype != mx.float64:
        return nn.losses.cross_entropy(logits, labels, reduction="mean")
    # MLX's exp of a float64 is as good as a float32's, its power is exact
    top = mx.stop_gradient(mx.max(logits, axis=1, keepdims=True))
    powers = mx.power(mx.array(e, dtype=mx.float64), logits - top)
    scores = mx.take_along_axis(logits - top, labels[:, None], axis=1)
    return mx.mean(mx.log(powers.sum(axis=1, keepdims=True)) - scores)


def _placed(array: Any) -> mx.array:
    """A NumPy array as MLX's, its type kept; MLX would make a float64 a float32."""
    return mx.array(array, dtype=mx.float64) if array.dtype == "float64" else mx.array(array)


ENGINE = MLXEngine
