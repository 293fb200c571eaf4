"""One engine beside the reference, epoch by epoch: loss, weights and Adam's moments."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from mnist_gpu import engines
from mnist_gpu.bench.variants import BATCH, first_images
from mnist_gpu.engines.base import Engine, EngineOptions
from mnist_gpu.parity.reference import RIGHT, Faults, Reference
from mnist_gpu.protocol.dataset import Dataset
from mnist_gpu.protocol.network import initial_weights, named_network
from mnist_gpu.protocol.workload import Workload
from mnist_gpu.timing.stopwatch import Stopwatch
from mnist_gpu.timing.timeline import Epoch, Observer, Timeline

BOUND = 1e-9  # relative, in float64
STEPS_PER_EPOCH = 10
TRAIN_IMAGES = (STEPS_PER_EPOCH - 1) * BATCH + BATCH // 2  # the last batch is half a batch


@dataclass(frozen=True)
class Difference:
    """How far an engine is from the reference after an epoch: relative, of the epoch's mean loss,
    and, largest of any parameter, of weights and of Adam's moments (norm of the difference over the
    norm). Where either is not a number it is infinite."""

    step: int
    loss: float
    weights: float
    moments: float

    @property
    def largest(self) -> float:
        """The largest of the three."""
        return max(self.loss, self.weights, self.moments)


def make_workload(
    model: str, precision: str, steps: int, dataset: Dataset, seed: int = 0
) -> Workload:
    """The protocol's workload without dropout on its first images, for about `steps` steps."""
    network = named_network(model, dropout=False)
    some = first_images(dataset, TRAIN_IMAGES, BATCH)
    epochs, weights = -(-steps // STEPS_PER_EPOCH), initial_weights(network, seed)
    return Workload(network, some, weights, epochs, BATCH, seed=seed, precision=precision)


def differences(
    load: Workload,
    engine_name: str,
    options: EngineOptions | None = None,
    faults: Faults = RIGHT,
    accelerator: str = "cpu",
) -> list[Difference]:
    """Train `load` (`make_workload`) on an engine, and on the reference with its `faults` on the
    CPU, and compare after every epoch."""
    engine = engines.find(engine_name)(load, options or EngineOptions(), accelerator)
    watcher = _Watcher(engine, Reference(load, faults))
    try:
        engine.build()
        engine.warm_up()
        engine.fit(Timeline(Stopwatch(phase="other"), load.epochs, [watcher]))
    finally:
        engine.close()
    return watcher.found


def relative(reached: npt.ArrayLike, expected: npt.ArrayLike) -> float:
    """Norm of the difference over the norm of what is expected."""
    difference = np.asarray(reached, np.float64) - np.asarray(expected)
    distance = float(np.linalg.norm(difference) / np.linalg.norm(expected))
    return distance if np.isfinite(distance) else np.inf


class _Watcher(Observer):
    vital = True

    def __init__(self, engine: Engine, reference: Reference) -> None:
        self.engine, self.reference = engine, reference
        self.found: list[Difference] = []

    @override
    def epoch_ended(self, row: Epoch) -> None:
        reference = self.reference
        loss = reference.epoch(self.engine.workload.order(row.epoch))
        state = self.engine.state()
        weights = _largest(state, weights=reference.weights)
        moments = _largest(state, adam_m=reference.means, adam_v=reference.squares)
        apart = relative(row.train_loss, loss)
        self.found.append(Difference(row.epoch * STEPS_PER_EPOCH, apart, weights, moments))


def _largest(state: Mapping[str, Any], **expected: Mapping[str, Any]) -> float:
    """The largest difference of any array of these kinds."""
    return max(
        relative(state[f"{kind}/{name}"], array.detach().numpy())
        for kind, arrays in expected.items()
        for name, array in arrays.items()
    )
