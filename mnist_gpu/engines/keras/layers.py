"""What the engines on Keras' layers share: Keras' `fit` and TensorFlow's own loop."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mnist_gpu.engines.base import Engine
from mnist_gpu.engines.facts import EngineFacts
from mnist_gpu.engines.keras import backend
from mnist_gpu.engines.switches import switched_on
from mnist_gpu.errors import UserError
from mnist_gpu.protocol.dataset import normalise
from mnist_gpu.protocol.layout import tensorflow_layout
from mnist_gpu.protocol.streams import dropout_seed
from mnist_gpu.protocol.workload import State

SWITCHES: dict[str, tuple[type, ...]] = {
    "steps_per_execution": (int,),
    "jit_compile": (bool,),
    "resident_data": (bool,),
}
DEVIATIONS = [
    "initial weights: the protocol's, drawn in NumPy, instead of Glorot's and zeros",
    "loss: SparseCategoricalCrossentropy(from_logits=True), as the network ends in logits",
    "optimizer: Adam with epsilon 1e-8 outside the bias-corrected root (Kingma & Ba, algorithm 1)"
    " instead of 1e-7 inside it",
    "dropout: Keras' layers, their seeds set anew each epoch from (seed, epoch)",
]


class LayersEngine(Engine):
    """A Keras model, Adam on it, and the data as arrays (n, 28, 28, 1); no loop yet."""

    backend: backend.Backend
    switches: Mapping[str, Any]

    def build_model(self, backend_name: str) -> None:
        """Choose the backend and its device, build model and optimizer, prepare the images."""
        precision = self.workload.precision
        self.backend = backend.choose(backend_name, self.accelerator, precision)
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
        self._load("weights", self.workload.initial_weights)
        dataset = self.workload.dataset
        self.images, self.labels = self._images(dataset.train_images), dataset.train_labels
        self.test_images, self.test_labels = self._images(dataset.test_images), dataset.test_labels

    def _images(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        # the protocol's preprocessing is in float32, whatever is trained in
        return normalise(images)[..., None].astype(self.dtype, copy=False)

    def switch_on(self, engine: str, **stock: Any) -> None:
        """Work out `switches`; `stock` are the values that are the framework's own."""
        stock = {"steps_per_execution": 1, **stock}
        self.switches = switched_on(self.options, engine, self.backend.kind, SWITCHES, stock)
        self.steps = int(self.switches.get("steps_per_execution", 1))
        if self.steps < 1:
            raise UserError(
                f"engine.switches.steps_per_execution={self.steps}: a whole number from 1"
            )

    def restart_dropout(self, epoch: int) -> None:
        """Set every dropout layer's seed from (seed, epoch)."""
        seed = dropout_seed(self.workload.seed, epoch)
        for position, layer in enumerate(self.model.layers):
            if hasattr(layer, "seed_generator"):
                # the second word counts the draws; a seed has 31 bits on every backend
                layer.seed_generator.state.assign([(seed + position) & 0x7FFFFFFF, 0])

    def predict(self) -> npt.NDArray[np.float32]:
        """Logits over the test set."""
        return np.asarray(self.model.predict(self.test_images, verbose=0)).astype(np.float32)

    def synchronise(self) -> None:
        """Wait for the device: the newest value of a weight cannot be had before."""
        self.keras.ops.convert_to_numpy(self.model.trainable_variables[-1])

    def state(self) -> State:
        """Weights and moments, in PyTorch's layout."""
        numpy = self.keras.ops.convert_to_numpy
        state: State = {"adam_step": np.array(numpy(self.optimizer.iterations), dtype=np.int64)}
        for kind in ("weights", "adam_m", "adam_v"):
            for name, variable in self._variables(kind).items():
                state[f"{kind}/{name}"] = self.layout.outside(name, numpy(variable))
        return state

    def load_state(self, state: State) -> None:
        """Continue from `state`, in place."""
        self.optimizer.iterations.assign(int(state["adam_step"]))
        for kind in ("weights", "adam_m", "adam_v"):
            self._load(kind, {n: state[f"{kind}/{n}"] for n in self._variables(kind)})

    def _load(self, kind: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        for name, variable in self._variables(kind).items():
            variable.assign(self.layout.inside(name, arrays[name]).astype(self.dtype))

    def _variables(self, kind: str) -> dict[str, Any]:
        """One kind of the state's variables, by the names of `Weights`."""
        variables = {
            "weights": self.model.trainable_variables,
            "adam_m": self.optimizer._momentums,
            "adam_v": self.optimizer._velocities,
        }
        names = [name for name, _, _ in self.workload.network.parameters()]
        return dict(zip(names, variables[kind], strict=True))

    def facts_of(self, framework: str, version: str, **more: Any) -> EngineFacts:
        """What ran, as far as the two engines have it in common."""
        deviations = [*DEVIATIONS, *more.pop("deviations")]
        if self.backend.kind == "cuda" and self.workload.precision == "float32":
            deviations.append("products: TF32 off, which is on by default on newer NVIDIA GPUs")
        return EngineFacts(
            framework=framework,
            framework_version=version,
            backend=self.backend.name,
            precision=self.workload.precision,
            accelerator=self.backend.kind,
            accelerator_name=self.backend.label,
            threads=self.backend.threads,
            # on a GPU kernels add up in any order
            deterministic=self.backend.kind == "cpu",
            switches=self.switches,
            deviations_from_defaults=deviations,
            **more,
        )

    def close(self) -> None:
        """Give Keras' global types back."""
        if hasattr(self, "_defaults"):
            floatx, policy = self._defaults
            self.keras.config.set_floatx(floatx)
            self.keras.config.set_dtype_policy(policy)
