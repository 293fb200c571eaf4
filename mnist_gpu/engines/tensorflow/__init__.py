"""`engine=tensorflow`: `tf.Variable`, `tf.nn`, `tf.function`; no Keras inside the step."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mnist_gpu.engines.base import Engine
from mnist_gpu.engines.facts import EngineFacts
from mnist_gpu.engines.tensorflow import device
from mnist_gpu.protocol.dataset import normalise
from mnist_gpu.protocol.layout import tensorflow_layout
from mnist_gpu.protocol.metrics import Metrics
from mnist_gpu.protocol.streams import dropout_seed
from mnist_gpu.protocol.workload import State, Workload

DEFAULT_STEPS = 67  # divides the 938 steps of an epoch
EVALUATION_BATCH = 500


class TensorFlowEngine(Engine):
    """A block of optimizer steps is one call of one graph."""

    def __init__(self, workload: Workload, settings: Mapping[str, Any], accelerator: str) -> None:
        super().__init__(workload, settings, accelerator)
        self.steps = workload.steps_per_execution or DEFAULT_STEPS

    def build(self) -> None:
        """Choose the device; place data, weights and Adam's moments on it."""
        self.device = device.choose(self.accelerator)
        device.prepare(self.workload.precision, self.device)
        import tensorflow as tf

        from mnist_gpu.engines.tensorflow.program import Program

        self.tf = tf
        self.layout = tensorflow_layout(self.workload.network)
        dataset = self.workload.dataset
        dtype = np.dtype("float64" if self.workload.precision == "float64" else "float32")
        with tf.device(self.device.name):
            self.program = Program(
                self.workload,
                {
                    name: self.layout.inside(name, array).astype(dtype)
                    for name, array in self.workload.initial_weights.items()
                },
                tf.constant(normalise(dataset.train_images, dtype.type)[..., None]),
                tf.constant(dataset.train_labels.astype(np.int64)),
            )
            self._test = tf.constant(normalise(dataset.test_images, dtype.type)[..., None])
        self._test_labels = dataset.test_labels.astype(np.int64)

    def warm_up(self) -> None:
        """Trace and run a block of every length, evaluate a batch, then put everything back."""
        before = self.state()
        n = len(self.workload.dataset.train_labels)
        block = self.steps * self.workload.batch_size
        for length in sorted({min(block, n - start) for start in range(0, n, block)}):
            self._run(np.arange(length), dropout_seed(self.workload.seed, 0), 0)
        self.program.take_metrics()
        self.program.logits(self._test[:EVALUATION_BATCH])
        self.load_state(before)

    def train_epoch(self, epoch: int, progress: Callable[[int], None]) -> Metrics:
        """Make the epoch's steps, a block at a time."""
        size = self.workload.batch_size
        order = self.workload.order(epoch)
        seed = dropout_seed(self.workload.seed, epoch)
        done = 0
        for start in range(0, len(order), self.steps * size):
            block = order[start : start + self.steps * size]
            self._run(block, seed, done)
            done += -(-len(block) // size)
            progress(done)
        loss, correct = self.program.take_metrics()
        return Metrics(loss / len(order), correct / len(order))

    def trace(self, steps: int, folder: Path) -> None:
        """A profile for TensorBoard's profile tab, with a trace for Perfetto in it."""
        before = self.state()
        size, n = self.workload.batch_size, len(self.workload.dataset.train_labels)
        indices = np.arange(steps * size) % n
        self._run(indices, 0, 0)  # its length is traced here
        self.tf.profiler.experimental.start(str(folder))
        self._run(indices, 0, 0)
        self.synchronise()
        self.tf.profiler.experimental.stop()
        self.program.take_metrics()
        self.load_state(before)

    def evaluate(self) -> Metrics:
        """The test set."""
        return Metrics.of_logits(self._logits(), self._test_labels)

    def predict(self) -> npt.NDArray[np.float32]:
        """Logits over the test set."""
        return self._logits().astype(np.float32)

    def synchronise(self) -> None:
        """Wait for the device."""
        if self.device.kind != "cpu":
            self.tf.test.experimental.sync_devices()

    def state(self) -> State:
        """Weights and moments, in the neutral layout."""
        state: State = {"adam_step": np.array(self.program.steps_made(), dtype=np.int64)}
        for kind, column in self.program.columns().items():
            for name, variable in column.items():
                state[f"{kind}/{name}"] = self.layout.outside(name, variable.numpy())
        return state

    def load_state(self, state: State) -> None:
        """Continue from `state`, in place."""
        self.program.step.assign(int(state["adam_step"]))
        for kind, column in self.program.columns().items():
            for name, variable in column.items():
                array = self.layout.inside(name, state[f"{kind}/{name}"])
                variable.assign(array.astype(variable.dtype.as_numpy_dtype))

    def facts(self) -> EngineFacts:
        """What ran."""
        return EngineFacts(
            framework="TensorFlow",
            framework_version=self.tf.__version__,
            backend="tensorflow",
            precision=self.workload.precision,
            compile="tf.function",
            steps_per_execution=self.steps,
            accelerator=self.device.kind,
            accelerator_name=self.device.label,
            # cuDNN adds up in any order
            deterministic=self.device.kind == "cpu",
        )

    def _run(self, indices: npt.NDArray[np.int64], seed: int, first_step: int) -> None:
        with self.tf.device(self.device.name):
            self.program.run(
                self.tf.constant(indices, dtype=self.tf.int64),
                self.tf.constant(seed, dtype=self.tf.int64),
                self.tf.constant(first_step, dtype=self.tf.int64),
            )

    def _logits(self) -> npt.NDArray[Any]:
        with self.tf.device(self.device.name):
            starts = range(0, len(self._test_labels), EVALUATION_BATCH)
            parts = [self.program.logits(self._test[s : s + EVALUATION_BATCH]) for s in starts]
            logits: npt.NDArray[Any] = self.tf.concat(parts, 0).numpy()
        return logits


ENGINE = TensorFlowEngine
