"""`engine=keras`: Keras 3 through `model.fit`, on TensorFlow, JAX or PyTorch."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mnist_gpu.engines.base import Engine
from mnist_gpu.engines.facts import EngineFacts
from mnist_gpu.engines.keras import backend
from mnist_gpu.protocol.dataset import normalise
from mnist_gpu.protocol.layout import tensorflow_layout
from mnist_gpu.protocol.metrics import Metrics
from mnist_gpu.protocol.streams import dropout_seed
from mnist_gpu.protocol.workload import State, Workload

DEFAULT_STEPS = 67  # divides the 938 steps of an epoch
EVALUATION_BATCH = 500


class KerasEngine(Engine):
    """Each epoch is one `fit`, over the epoch's order."""

    def __init__(self, workload: Workload, settings: Mapping[str, Any], accelerator: str) -> None:
        super().__init__(workload, settings, accelerator)
        self.steps = workload.steps_per_execution or DEFAULT_STEPS

    def build(self) -> None:
        """Choose backend and device, build and compile the model, place the data."""
        precision = self.workload.precision
        self.backend = backend.choose(self.settings, self.accelerator, precision)
        import keras

        from mnist_gpu.engines.keras import feed, model, optimizer

        self.keras = keras
        self._floatx = keras.config.floatx()
        wide = precision == "float64"
        # optimizers and losses go by it
        keras.config.set_floatx("float64" if wide else "float32")
        self.numpy_type = np.float64 if wide else np.float32
        self.layout = tensorflow_layout(self.workload.network)
        dataset = self.workload.dataset
        images = normalise(dataset.train_images, self.numpy_type)[..., None]
        self.feed = feed.choose(
            self.backend.name,
            images,
            dataset.train_labels.astype(np.int64),
            self.workload.batch_size,
        )
        self.model = model.build(
            self.workload.network, backend.POLICIES[precision], self.feed.model_class
        )
        self.feed.attach(self.model)
        self.optimizer = optimizer.Adam(self.workload.learning_rate)
        self.jit_compile = bool(self.settings.get("jit_compile") or False)
        self.model.compile(
            optimizer=self.optimizer,
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["sparse_categorical_accuracy"],
            jit_compile=self.jit_compile or self.backend.name == "jax",
            steps_per_execution=self.steps,
        )
        self.optimizer.build(self.model.trainable_variables)
        self._load("weights", self.workload.initial_weights)
        self._test_images = normalise(dataset.test_images, self.numpy_type)[..., None]
        self._test_labels = dataset.test_labels.astype(np.int64)

    def warm_up(self) -> None:
        """Trace and compile on a first and a last block and one evaluation, then put everything
        back."""
        before = self.state()
        order = np.arange(len(self.workload.dataset.train_labels))
        self._fit(order, 0, lambda step: None, warm_up=True)
        self.evaluate()
        self.load_state(before)

    def train_epoch(self, epoch: int, progress: Callable[[int], None]) -> Metrics:
        """Make the epoch's steps in one `fit`."""
        return self._fit(self.workload.order(epoch), epoch, progress)

    def evaluate(self) -> Metrics:
        """The test set."""
        return Metrics.of_logits(self._logits(), self._test_labels)

    def predict(self) -> npt.NDArray[np.float32]:
        """Logits over the test set."""
        return self._logits().astype(np.float32)

    def synchronise(self) -> None:
        """Wait for the device."""
        if self.backend.kind == "cpu":
            return
        # a value that depends on the last step cannot be had before it
        self.keras.ops.convert_to_numpy(self.model.trainable_variables[-1])

    def state(self) -> State:
        """Weights and moments, in the neutral layout."""
        steps_made = int(self.keras.ops.convert_to_numpy(self.optimizer.iterations))
        state: State = {"adam_step": np.array(steps_made, dtype=np.int64)}
        for kind in ("weights", "adam_m", "adam_v"):
            for name, variable in self._column(kind).items():
                array = self.keras.ops.convert_to_numpy(variable)
                state[f"{kind}/{name}"] = self.layout.outside(name, array)
        return state

    def load_state(self, state: State) -> None:
        """Continue from `state`, in place."""
        self.optimizer.iterations.assign(int(state["adam_step"]))
        for kind in ("weights", "adam_m", "adam_v"):
            names = self._column(kind)
            self._load(kind, {name: state[f"{kind}/{name}"] for name in names})

    def facts(self) -> EngineFacts:
        """What ran."""
        return EngineFacts(
            framework="Keras",
            framework_version=self.keras.__version__,
            backend=self.backend.name,
            precision=self.workload.precision,
            compile=self._compiled(),
            steps_per_execution=self.steps,
            accelerator=self.backend.kind,
            accelerator_name=self.backend.label,
            deterministic=self.backend.kind == "cpu",
        )

    def close(self) -> None:
        """Give Keras' global type back."""
        if hasattr(self, "keras"):
            self.keras.config.set_floatx(self._floatx)

    def _fit(
        self,
        order: npt.NDArray[np.int64],
        epoch: int,
        progress: Callable[[int], None],
        warm_up: bool = False,
    ) -> Metrics:
        self._restart_dropout(epoch)
        batches = self.feed.batches(order, self.steps if warm_up else None)
        steps = self.workload.steps_per_epoch
        tell = self.keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: progress(min(batch + 1, steps))
        )
        history = self.model.fit(batches, epochs=1, verbose=0, shuffle=False, callbacks=[tell])
        logs = history.history
        return Metrics(float(logs["loss"][0]), float(logs["sparse_categorical_accuracy"][0]))

    def _restart_dropout(self, epoch: int) -> None:
        seed = dropout_seed(self.workload.seed, epoch) & 0xFFFFFFFF
        for position, layer in enumerate(self._layers()):
            generator = getattr(layer, "seed_generator", None)
            if generator is not None:
                # the second word counts the draws
                word = (seed + position * 0x9E3779B9) & 0xFFFFFFFF
                generator.state.assign(np.array([word, 0], dtype=np.uint32))

    def _logits(self) -> npt.NDArray[Any]:
        logits = self.model.predict(self._test_images, batch_size=EVALUATION_BATCH, verbose=0)
        return np.asarray(logits)

    def _column(self, kind: str) -> dict[str, Any]:
        """One kind of the state's variables by the neutral names of what they belong to."""
        columns = {
            "weights": self.model.trainable_variables,
            "adam_m": self.optimizer._momentums,
            "adam_v": self.optimizer._velocities,
        }
        names = [name for name, _, _ in self.workload.network.parameters()]
        return dict(zip(names, columns[kind], strict=True))

    def _load(self, kind: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        for name, variable in self._column(kind).items():
            variable.assign(self.layout.inside(name, arrays[name]).astype(self.numpy_type))

    def _layers(self) -> Iterator[Any]:
        yield from self.model._flatten_layers(include_self=False, recursive=True)

    def _compiled(self) -> str:
        if self.backend.name == "jax":
            return "jax.jit"
        if self.backend.name == "torch":
            return "none"
        return "tf.function, XLA" if self.jit_compile else "tf.function"


ENGINE = KerasEngine
