"""A slice of the standard workload, small enough to be trained many times over."""

from mnist_gpu import data
from mnist_gpu.config.checks import check
from mnist_gpu.config.compose import compose_config
from mnist_gpu.data.dataset import Dataset
from mnist_gpu.engines.base import Workload
from mnist_gpu.models.initial import initial_weights
from mnist_gpu.models.network import Network

BATCH = 64


def workload(model: str, steps: int, precision: str = "float32") -> Workload:
    """One epoch of `steps` optimizer steps of the protocol's batch, on the first images."""
    settings = check(compose_config([f"model={model}", "data=auto"]))
    whole = data.load(settings.data, announce=lambda line: None)
    part = Dataset(
        whole.name,
        whole.sha256,
        whole.train_images[: steps * BATCH],
        whole.train_labels[: steps * BATCH],
        whole.test_images[:BATCH],
        whole.test_labels[:BATCH],
    )
    network = Network.from_config(model, settings.model["layers"])
    return Workload(
        network, part, initial_weights(network, 0), epochs=1, batch_size=BATCH, precision=precision
    )
