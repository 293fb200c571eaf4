"""One engine beside the reference, epoch by epoch: loss, weights and Adam's moments."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from mnist_gpu import engines
from mnist_gpu.engines.base import Engine, EngineOptions
from mnist_gpu.parity.reference import NO_FAULTS, Faults, Reference
from mnist_gpu.protocol.dataset import Dataset
from mnist_gpu.protocol.network import initial_weights, named_network
from mnist_gpu.protocol.workload import Workload
from mnist_gpu.timing.stopwatch import Stopwatch
from mnist_gpu.timing.timeline import Epoch, Observer, Timeline

# relative; float32 rounds to 6e-8
BOUNDS = {"float64": 1e-9, "float32": 1e-5}
BATCH = 64
STEPS_PER_EPOCH = 10
TRAIN_IMAGES = (STEPS_PER_EPOCH - 1) * BATCH + BATCH // 2  # the last batch is half a batch
TEST_IMAGES = 64


@dataclass(frozen=True)
class Difference:
    """How far an engine is from the reference after an epoch: relative, of the epoch's mean loss,
    and, largest of any parameter, of weights and of Adam's moments (norm of the difference over the
    norm)."""

    step: int
    loss: float
    weights: float
    moments: float

    @property
    def largest(self) -> float:
        """The largest of the three; not-a-number counts as infinite."""
        figures = [self.loss, self.weights, self.moments]
        return max(figures) if np.isfinite(figures).all() else np.inf


def make_workload(
    model: str, precision: str, steps: int, dataset: Dataset, seed: int = 0
) -> Workload:
    """The protocol's workload without dropout on its first images, for about `steps` steps."""
    network = named_network(model, dropout=False)
    some = replace(
        dataset,
        train_images=dataset.train_images[:TRAIN_IMAGES],
        train_labels=dataset.train_labels[:TRAIN_IMAGES],
        test_images=dataset.test_images[:TEST_IMAGES],
        test_labels=dataset.test_labels[:TEST_IMAGES],
    )
    return Workload(
        network,
        some,
        initial_weights(network, seed),
        epochs=-(-steps // STEPS_PER_EPOCH),
        batch_size=BATCH,
        seed=seed,
        precision=precision,
    )


def differences(
    load: Workload,
    engine_name: str,
    options: EngineOptions | None = None,
    faults: Faults = NO_FAULTS,
) -> list[Difference]:
    """Train `load` on an engine and on the reference, and compare after every epoch.

    Args:
        load: from `make_workload`.
        engine_name: the engine, on the CPU.
        options: of the engine.
        faults: of the reference.

    Raises:
        UserError: the engine's framework is not installed.
    """
    engine = engines.find(engine_name)(load, options or EngineOptions(), "cpu")
    watcher = _Watcher(engine, load, faults)
    try:
        engine.build()
        engine.warm_up()
        engine.fit(Timeline(Stopwatch(phase="other"), load.epochs, [watcher]))
    finally:
        engine.close()
    return watcher.found


def relative(reached: npt.NDArray[Any], expected: npt.NDArray[Any]) -> float:
    """Norm of the difference over the norm of what is expected."""
    distance = np.linalg.norm((reached.astype(np.float64) - expected).ravel())
    return float(distance / np.linalg.norm(expected.ravel()))


class _Watcher(Observer):
    vital = True

    def __init__(self, engine: Engine, load: Workload, faults: Faults) -> None:
        self.engine, self.load = engine, load
        self.reference = Reference(
            load.network,
            load.initial_weights,
            load.dataset,
            load.learning_rate,
            load.batch_size,
            faults,
        )
        self.found: list[Difference] = []

    @override
    def epoch_ended(self, row: Epoch) -> None:
        expected_loss = self.reference.epoch(self.load.order(row.epoch))
        state = self.engine.state()
        reference = self.reference
        moments = {"adam_m": reference.means, "adam_v": reference.squares}
        self.found.append(
            Difference(
                row.epoch * STEPS_PER_EPOCH,
                abs(row.train_loss - expected_loss) / abs(expected_loss),
                _largest(state, "weights", reference.weights),
                max(_largest(state, kind, arrays) for kind, arrays in moments.items()),
            )
        )


def _largest(state: Mapping[str, npt.NDArray[Any]], kind: str, arrays: Mapping[str, Any]) -> float:
    return max(
        relative(state[f"{kind}/{name}"], array.detach().numpy()) for name, array in arrays.items()
    )


def as_rows(found: list[Difference]) -> list[dict[str, float]]:
    """Plain numbers, for a pipe between processes."""
    return [asdict(difference) for difference in found]
