"""A slice of the standard workload, small enough to be trained many times over."""

from dataclasses import replace

from mnist_gpu import data
from mnist_gpu.protocol.network import initial_weights, named_network
from mnist_gpu.protocol.workload import Workload

BATCH = 64


def whole(model: str, epochs: int = 1, seed: int = 0, precision: str = "float32") -> Workload:
    """The protocol's training of all images."""
    network = named_network(model)
    dataset = data.load({"source": "auto"}, announce=lambda line: None)
    weights = initial_weights(network, seed)
    return Workload(
        network, dataset, weights, epochs, batch_size=BATCH, seed=seed, precision=precision
    )


def slice_of(model: str, steps: int, precision: str = "float32") -> Workload:
    """One epoch of `steps` optimizer steps of the protocol's batch, on the first images."""
    load = whole(model, precision=precision)
    images = load.dataset
    part = replace(
        images,
        train_images=images.train_images[: steps * BATCH],
        train_labels=images.train_labels[: steps * BATCH],
        test_images=images.test_images[:BATCH],
        test_labels=images.test_labels[:BATCH],
    )
    return replace(load, dataset=part)
