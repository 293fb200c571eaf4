"""One engine beside the reference, in lockstep: every step's loss, gradients and weights."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from mnist_gpu import engines
from mnist_gpu.config.compose import check, compose_config
from mnist_gpu.engines.base import Engine
from mnist_gpu.parity.reference import BETA_1, NO_FAULTS, Faults, Reference
from mnist_gpu.protocol.dataset import Dataset
from mnist_gpu.protocol.initial import initial_weights
from mnist_gpu.protocol.network import Network
from mnist_gpu.protocol.workload import State, Workload
from mnist_gpu.records.schema import EpochRecord
from mnist_gpu.timing.stopwatch import Stopwatch
from mnist_gpu.timing.timeline import Observer, Timeline

# relative; float32 rounds to 6e-8
BOUNDS = {"float64": 1e-9, "float32": 1e-5}
PARTIAL_EVERY = 10
TEST_IMAGES = 64


@dataclass(frozen=True)
class Difference:
    """How far an engine is from the reference after one step: relative, of the step's loss, the
    gradient's norm, and the weights (largest of any parameter, norm of the difference over norm).
    """

    step: int
    loss: float
    gradient: float
    weights: float

    @property
    def largest(self) -> float:
        """The largest of the three; not-a-number counts as infinite."""
        worst = max(self.loss, self.gradient, self.weights)
        return worst if np.isfinite([self.loss, self.gradient, self.weights]).all() else np.inf


@dataclass(frozen=True)
class Slices(Workload):
    """The standard workload, cut so that every epoch is one step: each step's loss is an epoch's.
    Every tenth batch is half a batch, as the last of an epoch is."""

    @property
    @override
    def steps_per_epoch(self) -> int:
        return 1

    @override
    def order(self, epoch: int) -> npt.NDArray[np.int64]:
        whole = super().order(1)
        size = self.batch_size
        start = (epoch - 1) * size % (len(whole) - size)
        return whole[start : start + (size // 2 if epoch % PARTIAL_EVERY == 0 else size)]


def workload(model: str, precision: str, steps: int, dataset: Dataset, seed: int = 0) -> Slices:
    """The standard workload without dropout, for `steps` steps."""
    settings = check(compose_config([f"model={model}"])).model
    network = Network.from_config(model, settings.layers, dropout=False)
    small = Dataset(
        dataset.name,
        dataset.sha256,
        dataset.train_images,
        dataset.train_labels,
        dataset.test_images[:TEST_IMAGES],
        dataset.test_labels[:TEST_IMAGES],
    )
    return Slices(
        network,
        small,
        initial_weights(network, seed),
        epochs=steps,
        seed=seed,
        precision=precision,
        steps_per_execution=1,
    )


def differences(
    load: Workload, engine_name: str, overrides: tuple[str, ...] = (), faults: Faults = NO_FAULTS
) -> list[Difference]:
    """Train `load` on an engine and on the reference, and compare after every step.

    Args:
        load: from `workload`.
        engine_name: the engine, on the CPU.
        overrides: of its options, such as `engine.backend=jax`.
        faults: of the reference.

    Raises:
        UserError: the engine's framework is not installed.
    """
    settings = check(compose_config([f"engine={engine_name}", *overrides])).engine.model_dump()
    engine = engines.find(engine_name)(load, settings, "cpu")
    try:
        engine.build()
        watcher = _Watcher(engine, load, faults)
        engine.warm_up()
        timeline = Timeline(
            Stopwatch(synchronise=engine.synchronise, phase="other"), load.epochs, [watcher]
        )
        engine.fit(timeline)
    finally:
        engine.close()
    return watcher.found


def first_step(
    load: Workload, engine_name: str, overrides: tuple[str, ...] = ()
) -> dict[str, float]:
    """Relative differences of the first step: `logits` before it, `loss`, and `gradient`, the
    largest of any parameter's."""
    settings = check(compose_config([f"engine={engine_name}", *overrides])).engine.model_dump()
    engine = engines.find(engine_name)(load, settings, "cpu")
    try:
        engine.build()
        reference = _reference(load, NO_FAULTS)
        expected = reference.logits(load.dataset.test_images).detach().numpy()
        logits = relative(engine.predict(), expected)
        watcher = _Watcher(engine, load, NO_FAULTS)
        engine.fit(Timeline(Stopwatch(synchronise=engine.synchronise, phase="other"), 1, [watcher]))
        state = engine.state()
    finally:
        engine.close()
    gradient = max(
        relative(state[f"adam_m/{name}"] / (1.0 - BETA_1), array.numpy())
        for name, array in watcher.reference.gradients.items()
    )
    return {"logits": logits, "loss": watcher.found[0].loss, "gradient": gradient}


def relative(reached: npt.NDArray[Any], expected: npt.NDArray[Any]) -> float:
    """Norm of the difference over the norm of what is expected."""
    distance = np.linalg.norm((reached.astype(np.float64) - expected).ravel())
    return float(distance / np.linalg.norm(expected.ravel()))


class _Watcher(Observer):
    vital = True

    def __init__(self, engine: Engine, load: Workload, faults: Faults) -> None:
        self.engine, self.load = engine, load
        self.reference = _reference(load, faults)
        self.found: list[Difference] = []
        self._before: State = engine.state()

    @override
    def epoch_ended(self, row: EpochRecord) -> None:
        expected_loss = self.reference.step(self.load.order(row.epoch))
        state = self.engine.state()
        expected_norm = _norm(array.numpy() for array in self.reference.gradients.values())
        norm = _norm(self._gradients(state))
        weights = max(
            relative(state[f"weights/{name}"], array.detach().numpy())
            for name, array in self.reference.weights.items()
        )
        self.found.append(
            Difference(
                row.epoch,
                abs(row.train_loss - expected_loss) / abs(expected_loss),
                abs(norm - expected_norm) / expected_norm,
                weights,
            )
        )
        self._before = state

    def _gradients(self, state: State) -> Iterator[npt.NDArray[Any]]:
        """What the step's gradients were, by the change of Adam's first moment."""
        for name in self.reference.weights:
            before, now = self._before[f"adam_m/{name}"], state[f"adam_m/{name}"]
            yield (now - BETA_1 * before) / (1.0 - BETA_1)


def _reference(load: Workload, faults: Faults) -> Reference:
    return Reference(
        load.network,
        load.initial_weights,
        load.dataset,
        load.learning_rate,
        load.batch_size,
        faults,
    )


def _norm(arrays: Iterator[npt.NDArray[Any]]) -> float:
    return float(np.sqrt(sum(float((array.astype(np.float64) ** 2).sum()) for array in arrays)))


def as_rows(found: list[Difference]) -> list[dict[str, float]]:
    """Plain numbers, for a pipe between processes."""
    return [asdict(difference) for difference in found]
