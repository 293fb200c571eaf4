"""`engine=mlx`: Apple's framework; on the Metal GPU of a Mac, or on any CPU."""

from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from mnist_gpu.engines.base import Engine
from mnist_gpu.engines.facts import EngineFacts
from mnist_gpu.engines.mlx import device
from mnist_gpu.engines.mlx.program import Program
from mnist_gpu.protocol.dataset import normalise
from mnist_gpu.protocol.layout import mlx_layout
from mnist_gpu.protocol.metrics import Metrics
from mnist_gpu.protocol.streams import dropout_seed
from mnist_gpu.protocol.workload import State, Workload

DEFAULT_STEPS = 67  # divides the 938 steps of an epoch
EVALUATION_BATCH = 500


class MLXEngine(Engine):
    """Every step is one compiled graph; a block of them is queued before it is waited for."""

    def __init__(self, workload: Workload, settings: Mapping[str, Any], accelerator: str) -> None:
        super().__init__(workload, settings, accelerator)
        self.steps = workload.steps_per_execution or DEFAULT_STEPS

    def build(self) -> None:
        """Choose the device; place data, weights and Adam's moments on it."""
        self.device = device.choose(self.accelerator, self.workload.precision)
        mx.set_default_device(self.device.handle)
        self.layout = mlx_layout(self.workload.network)
        wide = self.workload.precision == "float64"
        self.numpy_type = np.float64 if wide else np.float32
        dataset = self.workload.dataset

        def images(array: npt.NDArray[np.uint8]) -> mx.array:
            return _placed(normalise(array, self.numpy_type)[..., None])

        self.program = Program(
            self.workload,
            {
                name: _placed(self.layout.inside(name, array).astype(self.numpy_type))
                for name, array in self.workload.initial_weights.items()
            },
            images(dataset.train_images),
            mx.array(dataset.train_labels.astype(np.int32)),
        )
        self._test = images(dataset.test_images)
        self._test_labels = dataset.test_labels.astype(np.int64)

    def warm_up(self) -> None:
        """Trace and run a step of either size, evaluate a batch, then put everything back."""
        before = self.state()
        size, n = self.workload.batch_size, len(self.workload.dataset.train_labels)
        self.program.begin_epoch(dropout_seed(self.workload.seed, 0))
        self.program.run_steps(np.arange(2 * size + n % size) % n)
        self.program.take_metrics()
        mx.eval(self.program.logits(self._test[:EVALUATION_BATCH]))
        self.load_state(before)

    def train_epoch(self, epoch: int, progress: Callable[[int], None]) -> Metrics:
        """Make the epoch's steps, a block at a time."""
        size = self.workload.batch_size
        order = self.workload.order(epoch)
        self.program.begin_epoch(dropout_seed(self.workload.seed, epoch))
        done = 0
        for start in range(0, len(order), self.steps * size):
            block = order[start : start + self.steps * size]
            self.program.run_steps(block)
            done += -(-len(block) // size)
            progress(done)
        loss, correct = self.program.take_metrics()
        return Metrics(loss / len(order), correct / len(order))

    def evaluate(self) -> Metrics:
        """The test set."""
        return Metrics.of_logits(self._logits(), self._test_labels)

    def predict(self) -> npt.NDArray[np.float32]:
        """Logits over the test set."""
        return self._logits().astype(np.float32)

    def synchronise(self) -> None:
        """Wait for the device."""
        mx.synchronize()

    def state(self) -> State:
        """Weights and moments, in the neutral layout."""
        state: State = {"adam_step": np.array(self.program.steps_made(), dtype=np.int64)}
        for kind, column in self.program.state.items():
            if isinstance(column, dict):
                for name, array in column.items():
                    state[f"{kind}/{name}"] = self.layout.outside(name, np.array(array))
        return state

    def load_state(self, state: State) -> None:
        """Continue from `state`."""

        def column(kind: str) -> dict[str, mx.array]:
            return {
                name: _placed(
                    self.layout.inside(name, state[f"{kind}/{name}"]).astype(self.numpy_type)
                )
                for name in self.program.state["weights"]
            }

        columns = {kind: column(kind) for kind in ("weights", "adam_m", "adam_v")}
        self.program.load(int(state["adam_step"]), columns)

    def facts(self) -> EngineFacts:
        """What ran."""
        return EngineFacts(
            framework="MLX",
            framework_version=metadata.version("mlx"),
            backend="mlx",
            precision=self.workload.precision,
            compile="mx.compile",
            steps_per_execution=self.steps,
            accelerator=self.device.kind,
            accelerator_name=self.device.label,
            deterministic=self.device.kind == "cpu",
        )

    def _logits(self) -> npt.NDArray[Any]:
        starts = range(0, len(self._test_labels), EVALUATION_BATCH)
        parts = [self.program.logits(self._test[s : s + EVALUATION_BATCH]) for s in starts]
        return np.array(mx.concatenate(parts))


def _placed(array: npt.NDArray[Any]) -> mx.array:
    # without its type stated, MLX makes float64 a float32
    return mx.array(array, dtype=mx.float64 if array.dtype == np.float64 else mx.float32)


ENGINE = MLXEngine
