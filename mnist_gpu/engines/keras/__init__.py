"""`engine=keras`: Keras 3 as its own introduction has it (`compile`, `fit`, `evaluate`,
`predict`), on TensorFlow, JAX or PyTorch."""

from abc import abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from mnist_gpu.engines.base import LoopEngine, switched_on
from mnist_gpu.engines.keras import backend
from mnist_gpu.protocol.dataset import normalise
from mnist_gpu.protocol.layout import tensorflow_layout
from mnist_gpu.protocol.streams import dropout_seed
from mnist_gpu.protocol.workload import EngineFacts, Metrics, State
from mnist_gpu.timing.timeline import Timeline

# Keras' default
EVALUATED_AT_ONCE = 32
DEVIATIONS = (
    "initial weights: the protocol's, drawn in NumPy, instead of Glorot's and zeros",
    "loss: SparseCategoricalCrossentropy(from_logits=True), as the network ends in logits",
    "optimizer: Adam with epsilon 1e-8 outside the bias-corrected root (Kingma & Ba, algorithm 1)"
    " instead of 1e-7 inside it",
    "dropout: Keras' layers, their seeds set anew each epoch from (seed, epoch)",
)


class LayersEngine(LoopEngine):
    """What `engine=keras` and `engine=tensorflow` share: a model of Keras' layers, Adam, and the
    images as arrays (n, 28, 28, 1); no loop yet."""

    def build_model(self, backend_name: str) -> None:
        """Choose the backend and its device, build model and optimizer, prepare the images."""
        precision = self.workload.precision
        self.backend = backend_name
        chosen = backend.choose(backend_name, self.accelerator, precision)
        self.kind, self.label, self.threads = chosen
        import keras

        from mnist_gpu.engines.keras import model

        self.keras = keras
        self._defaults = keras.config.floatx(), keras.config.dtype_policy()
        self.dtype = np.dtype("float64" if precision == "float64" else "float32")
        keras.config.set_floatx(self.dtype.name)
        keras.config.set_dtype_policy(backend.POLICIES[precision])
        self.model = model.build(self.workload.network)
        self.optimizer = model.Adam(self.workload.learning_rate, epsilon=1e-8)
        self.optimizer.build(self.model.trainable_variables)
        self.layout = tensorflow_layout(self.workload.network)
        for name, variable in self._variables()["weights"].items():
            self._load(name, variable, self.workload.initial_weights[name])
        dataset = self.workload.dataset
        self.images, self.labels = self._images(dataset.train_images), dataset.train_labels
        self.test_images, self.test_labels = self._images(dataset.test_images), dataset.test_labels

    def _images(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        # the protocol's preprocessing is in float32, whatever is trained in
        return normalise(images)[..., None].astype(self.dtype, copy=False)

    def switch_on(self, engine: str, **stock: Any) -> None:
        """Work out `switches` and `steps`; `stock` are the values that Keras itself chose."""
        possible: dict[str, type] = {"jit_compile": bool, "resident_data": bool}
        # Keras on PyTorch makes one step at a time
        if self.backend != "torch":
            possible["steps_per_execution"] = int
        if self.backend == "tensorflow":
            possible["no_autotune"] = bool
        stock = {"steps_per_execution": 1, **stock}
        self.switches = switched_on(self.options, engine, self.kind, possible, stock)
        self.steps = int(self.switches.get("steps_per_execution", 1))

    def pipeline(self, dataset: Any) -> Any:
        """A `tf.data.Dataset` as the switches want it."""
        if "no_autotune" not in self.switches:
            return dataset
        import tensorflow as tf

        options = tf.data.Options()
        options.autotune.enabled = False
        return dataset.with_options(options)

    @abstractmethod
    def train_on(self, order: npt.NDArray[np.int64]) -> Metrics:
        """Train once on the images of these numbers, in this order: (n,)."""

    def try_out(self, order: npt.NDArray[np.int64]) -> None:
        """Train on some images, and leave everything as it was."""
        # Adam's moments and its count included
        before = self.state()
        self.train_on(order)
        self.load_state(before)

    def warm_up(self) -> None:
        size, n = self.workload.batch_size * self.steps, len(self.labels)
        # a batch of each size: the last one of an epoch is smaller
        self.try_out(np.arange(n)[: size + n % size])
        self.evaluate()

    def restart_dropout(self, epoch: int) -> None:
        """Set every dropout layer's seed from (seed, epoch)."""
        seed = dropout_seed(self.workload.seed, epoch)
        for position, layer in enumerate(self.model.layers):
            # every dropout layer has one
            if hasattr(layer, "seed_generator"):
                # the second word counts the draws; a seed has 31 bits on every backend
                layer.seed_generator.state.assign([(seed + position) & 0x7FFFFFFF, 0])

    def predict(self) -> npt.NDArray[np.float32]:
        return np.asarray(self.model.predict(self.test_images, verbose=0)).astype(np.float32)

    def synchronise(self) -> None:
        # the newest value of a weight cannot be had before
        self.keras.ops.convert_to_numpy(self.model.trainable_variables[-1])

    def state(self) -> State:
        numpy = self.keras.ops.convert_to_numpy
        state: State = {"adam_step": np.array(numpy(self.optimizer.iterations), dtype=np.int64)}
        for kind, variables in self._variables().items():
            for name, variable in variables.items():
                state[f"{kind}/{name}"] = self.layout.outside(name, numpy(variable))
        return state

    def load_state(self, state: State) -> None:
        self.optimizer.iterations.assign(int(state["adam_step"]))
        for kind, variables in self._variables().items():
            for name, variable in variables.items():
                self._load(name, variable, state[f"{kind}/{name}"])

    def _load(self, name: str, variable: Any, array: npt.NDArray[Any]) -> None:
        variable.assign(self.layout.inside(name, array).astype(self.dtype))

    def _variables(self) -> dict[str, dict[str, Any]]:
        """The state's variables by kind, and by the names of `Weights`."""
        kinds = {
            "weights": self.model.trainable_variables,
            "adam_m": self.optimizer._momentums,
            "adam_v": self.optimizer._velocities,
        }
        names = [name for name, _, _ in self.workload.network.parameters()]
        return {kind: dict(zip(names, kinds[kind], strict=True)) for kind in kinds}

    def facts_of(self, framework: str, version: str, *deviations: str, **more: Any) -> EngineFacts:
        """What ran, as far as the two engines have it in common."""
        if self.kind == "cuda" and self.workload.precision == "float32":
            deviations += ("products: TF32 off, which is on by default on newer NVIDIA GPUs",)
        return EngineFacts(
            framework=framework,
            framework_version=version,
            backend=self.backend,
            precision=self.workload.precision,
            accelerator=self.kind,
            accelerator_name=self.label,
            threads=self.threads,
            # on a GPU kernels add up in any order
            deterministic=self.kind == "cpu",
            switches=self.switches,
            deviations_from_defaults=DEVIATIONS + deviations,
            **more,
        )

    def close(self) -> None:
        if hasattr(self, "_defaults"):
            floatx, policy = self._defaults
            self.keras.config.set_floatx(floatx)
            self.keras.config.set_dtype_policy(policy)


class KerasEngine(LayersEngine):
    """Each epoch is one `fit` over the images in the epoch's order."""

    def build(self) -> None:
        self.build_model(self.options.backend)
        self._compile(self.model)
        self.switch_on("keras", jit_compile=self.model.jit_compile)
        # what `fit` trains, and on which rows
        self.trained: Any = self.model
        if "resident_data" in self.switches:
            from mnist_gpu.engines.keras.model import Resident

            index = self.keras.Input((), dtype="int32")
            self.trained = self.keras.Sequential([index, Resident(self.images), self.model])
            self.rows = np.arange(len(self.labels), dtype=np.int32)
        else:
            with self.keras.device("cpu"):
                self.rows = self.keras.ops.convert_to_tensor(self.images)
        del self.images
        compiled = ("steps_per_execution", "jit_compile")
        arguments = {name: v for name, v in self.switches.items() if name in compiled}
        for model in (self.model, self.trained):
            self._compile(model, **arguments)

    def _compile(self, model: Any, **arguments: Any) -> None:
        model.compile(
            optimizer=self.optimizer,
            loss=self.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["sparse_categorical_accuracy"],
            **arguments,
        )

    def train_epoch(self, epoch: int, timeline: Timeline) -> Metrics:
        self.restart_dropout(epoch)

        class Progress(self.keras.callbacks.Callback):  # type: ignore[name-defined]
            # at a batch's end Keras would wait for its loss and accuracy
            def on_train_batch_begin(self, batch: int, logs: object = None) -> None:
                timeline.progressed(batch)

            def on_train_end(self, logs: object = None) -> None:
                timeline.progressed(self.params["steps"])

        return self.train_on(self.workload.order(epoch), Progress())

    def train_on(self, order: npt.NDArray[np.int64], *callbacks: Any) -> Metrics:
        # on the host, in the form in which `fit` takes images without another copy
        with self.keras.device("cpu"):
            images = self.keras.ops.take(self.rows, order, axis=0)
        # a call for each epoch: `fit` by itself would draw an order of its own, or keep the first
        history = self.trained.fit(
            **self._given(images, self.labels[order], self.workload.batch_size),
            shuffle=False,
            verbose=0,
            callbacks=list(callbacks),
        ).history
        return Metrics(history["loss"][0], history["sparse_categorical_accuracy"][0])

    def evaluate(self) -> Metrics:
        given = self._given(self.test_images, self.test_labels, EVALUATED_AT_ONCE)
        loss, accuracy = self.model.evaluate(**given, verbose=0)
        return Metrics(float(loss), float(accuracy))

    def _given(self, images: Any, labels: Any, batch_size: int) -> dict[str, Any]:
        """What `fit` and `evaluate` train on and test: arrays, which Keras puts into a pipeline of
        its own, or with `no_autotune` one that is made here."""
        if "no_autotune" not in self.switches:
            return {"x": images, "y": labels, "batch_size": batch_size}
        import tensorflow as tf

        dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(batch_size)
        return {"x": self.pipeline(dataset)}

    def facts(self) -> EngineFacts:
        compilers = {"tensorflow": "tf.function, XLA", "jax": "jax.jit", "torch": "torch.compile"}
        compiled = compilers[self.backend]
        if not self.model.jit_compile:
            compiled = "tf.function" if self.backend == "tensorflow" else "none"
        return self.facts_of(
            "Keras",
            self.keras.__version__,
            "fit: shuffle=False on images in the protocol's order, one fit an epoch",
            "fit: verbose=0, no progress bar",
            compile=compiled,
            data_wait_hidden="Keras' fit does not tell how long it waits for a batch",
        )


ENGINE = KerasEngine
