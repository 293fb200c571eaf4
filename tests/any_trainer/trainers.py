"""Trainers without anything that a test does not ask for, and how weights are compared."""

from pathlib import Path

import lightning.pytorch as L
import numpy as np
import torch

from mnist_gpu import MNISTDataModule, MNISTModule
from tests.workloads import first_images, mnist

IMAGES, STEPS = 480, 8  # of an epoch; the last batch is half a batch


def small(
    mnist_dir: Path, kind: type[MNISTDataModule] = MNISTDataModule, seed: int = 0
) -> MNISTDataModule:
    """The data module, or a subclass, with MNIST's first images alone."""
    return kind.of(first_images(mnist(str(mnist_dir)), IMAGES), batch_size=64, seed=seed)


def quiet(folder: Path, **arguments) -> L.Trainer:
    without = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False}
    return L.Trainer(
        accelerator="cpu",
        default_root_dir=folder,
        enable_model_summary=False,
        **({"max_epochs": 1} | without | arguments),
    )


def weights(module: MNISTModule) -> dict[str, np.ndarray]:
    return {name: p.detach().numpy().copy() for name, p in module.named_parameters()}


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return all(np.array_equal(array, other[name]) for name, array in one.items())


def without_dropout() -> MNISTModule:
    module = MNISTModule("mlp")
    for layer in module.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0
    return module
