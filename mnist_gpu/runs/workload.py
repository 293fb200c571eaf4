"""A checked configuration and a data set become the problem that an engine is given."""

from dataclasses import replace

from mnist_gpu.config.devices import refuse_uneven
from mnist_gpu.config.settings import Settings
from mnist_gpu.engines.base import EngineOptions
from mnist_gpu.protocol.dataset import Dataset
from mnist_gpu.protocol.network import Network, initial_weights
from mnist_gpu.protocol.workload import Workload


def workload_of(settings: Settings, dataset: Dataset) -> Workload:
    """The workload, the same in every process of a run.

    Raises:
        UserError: this data set's batches cannot be shared by that many devices.
    """
    model = settings.model
    network = Network.from_config(model.name, model.layers, model.dropout)
    batch_size = settings.global_batch_size
    if settings.world > 1:
        refuse_uneven(settings, len(dataset.train_labels))
    return Workload(
        network=network,
        dataset=dataset,
        initial_weights=initial_weights(network, settings.seed),
        epochs=settings.epochs,
        batch_size=batch_size,
        learning_rate=settings.learning_rate,
        seed=settings.seed,
        precision=settings.precision,
        devices=settings.devices,
        num_nodes=settings.num_nodes,
    )


def options_of(settings: Settings) -> EngineOptions:
    """How the engine is to train.

    Raises:
        UserError: a configured class does not exist, or refuses an argument.
    """
    engine = settings.engine
    options = EngineOptions(
        division=settings.division.name,
        switches=engine.switches,
        backend=str(engine.options.get("backend", "tensorflow")),
    )
    if engine.name != "lightning":
        return options
    from mnist_gpu.config.instances import make

    node = settings.logger.node
    return replace(
        options,
        make_trainer=lambda **given: make(settings.trainer, "trainer", **given),
        callbacks=[make(one, f"callbacks.{name}") for name, one in settings.callbacks.items()],
        logger=None if node is None else make(node, "logger"),
    )
