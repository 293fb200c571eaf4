"""A slice of the standard workload, small enough to be trained many times over."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from mnist_gpu import data
from mnist_gpu.config.compose import check, compose_config
from mnist_gpu.protocol.dataset import Dataset
from mnist_gpu.protocol.initial import initial_weights
from mnist_gpu.protocol.network import Network
from mnist_gpu.protocol.workload import Workload

BATCH = 64


def workload(
    model: str, steps: int, precision: str = "float32", weights: Path | None = None
) -> Workload:
    """One epoch of `steps` optimizer steps of the protocol's batch, on the first images.

    Args:
        model: what is trained.
        steps: in the epoch.
        precision: of the products.
        weights: to begin with (`trained`); None: the protocol's initial ones.
    """
    whole = full(model, epochs=1, seed=0)
    if weights is not None:
        with np.load(weights) as read:
            whole = replace(whole, initial_weights=dict(read))
    images = whole.dataset
    part = Dataset(
        images.name,
        images.sha256,
        images.train_images[: steps * BATCH],
        images.train_labels[: steps * BATCH],
        images.test_images[:BATCH],
        images.test_labels[:BATCH],
    )
    return replace(whole, dataset=part, precision=precision)


def full(model: str, epochs: int, seed: int) -> Workload:
    """The protocol's training of all images."""
    settings = check(compose_config([f"model={model}", "data=auto"]))
    network = Network.from_config(model, settings.model.layers)
    return Workload(
        network,
        data.load(settings.data.model_dump(), announce=lambda line: None),
        initial_weights(network, seed),
        seed=seed,
        epochs=epochs,
        batch_size=BATCH,
    )
