"""A checked configuration and a data set become an engine that is built, in every process alike."""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from hydra.errors import HydraException
from hydra.utils import get_method, instantiate

from mnist_gpu import engines
from mnist_gpu.collection import no_collection
from mnist_gpu.config.errors import near
from mnist_gpu.config.settings import Settings
from mnist_gpu.engines.base import Engine, EngineOptions
from mnist_gpu.errors import UserError
from mnist_gpu.protocol.dataset import Dataset
from mnist_gpu.protocol.network import initial_weights
from mnist_gpu.protocol.workload import Workload
from mnist_gpu.runs.outcome import failing_in_a_line
from mnist_gpu.timing.stopwatch import Stopwatch, no_device

LONGEST = 200


def engine_of(settings: Settings, dataset: Dataset) -> Engine:
    """The engine, not yet built.

    Raises:
        UserError: this data set's batches cannot be shared by that many devices, or a configured
            class does not exist or refuses an argument.
    """
    settings.refuse_uneven(len(dataset.train_labels))
    network = settings.model.network
    same = ("epochs", "learning_rate", "seed", "precision", "devices", "num_nodes")
    workload = Workload(
        network=network,
        dataset=dataset,
        initial_weights=initial_weights(network, settings.seed),
        batch_size=settings.global_batch_size,
        **{name: getattr(settings, name) for name in same},
    )
    engine = engines.find(settings.engine.name)
    return engine(workload, _options(settings), settings.platform.accelerator)


@contextmanager
def opened(settings: Settings, dataset: Dataset, stopwatch: Stopwatch) -> Iterator[Engine]:
    """Within the block, the engine is built and the stopwatch waits for its device.

    Raises:
        UserError: as `engine_of`, or it cannot be built: the accelerator is not there, say.
    """
    stopwatch.enter("build")
    engine = engine_of(settings, dataset)
    try:
        # frameworks load more of themselves here
        with failing_in_a_line(), no_collection():
            engine.build()
        stopwatch.synchronise = engine.synchronise
        yield engine
    finally:
        # a device that is closed, or lost, cannot be waited for
        stopwatch.synchronise = no_device
        engine.close()


def _options(settings: Settings) -> EngineOptions:
    engine = settings.engine
    options = EngineOptions(
        division=settings.division.name,
        switches=engine.switches,
        backend=str(engine.options.get("backend", "tensorflow")),
    )
    # only its Trainer takes them; `Settings` has refused them for the others
    if engine.name != "lightning":
        return options
    node = settings.logger.node
    return replace(
        options,
        make_trainer=lambda **given: make(settings.trainer, "trainer", **given),
        callbacks=[make(one, f"callbacks.{name}") for name, one in settings.callbacks.items()],
        logger=None if node is None else make(node, "logger"),
    )


def make(node: Mapping[str, Any], where: str, **given: Any) -> Any:
    """What `hydra.utils.instantiate` makes of `node`, which stands at the key `where`, and of
    arguments that a configuration cannot name.

    Raises:
        UserError: there is no such class, it has no such argument, or it refuses one.
    """
    target = str(node["_target_"])
    known: Mapping[str, inspect.Parameter] = {}
    try:
        known = inspect.signature(get_method(target)).parameters
    except (ValueError, TypeError):
        pass  # it is written in C, and says nothing of its arguments
    except Exception as exc:
        raise UserError(f"{where}._target_={target}: {_why(exc)}") from None
    takes_any = not known or any(one.kind is one.VAR_KEYWORD for one in known.values())
    for key in node:
        if key not in known and not key.startswith("_") and not takes_any:
            last = target.rpartition(".")[2]
            raise UserError(f"{where}.{key}: {last} has no such argument{near(key, known)}")
    try:
        return instantiate(dict(node), **given)
    except HydraException as exc:
        raise UserError(f"{where}: {target} refused: {_why(exc)}") from None


def _why(exc: BaseException) -> str:
    while exc.__cause__ is not None:
        exc = exc.__cause__
    return f"{type(exc).__name__}: {' '.join(str(exc).split())}"[:LONGEST]
