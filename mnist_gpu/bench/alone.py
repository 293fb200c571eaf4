"""Each framework's own code for the protocol's training, without anything of this project around
it: what an engine is held against.

A function makes everything ready and gives one that trains an epoch, then evaluates as its
framework's tutorial does, and returns the seconds of the training.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from mnist_gpu.protocol.dataset import normalise
from mnist_gpu.protocol.workload import Workload

BATCH = 64


def torch_parts(load: Workload) -> tuple[Any, Any, Any]:
    """PyTorch's network on this machine's device with the protocol's weights, its Adam, and the
    training images on the host."""
    import torch

    from mnist_gpu.engines.torch.data import tensors
    from mnist_gpu.engines.torch.device import choose, set_precision
    from mnist_gpu.engines.torch.network import build_network

    device = choose("auto")
    set_precision(load.precision, device)
    network = build_network(load.network).to(device).train()
    network.load(load.initial_weights)
    optimizer = torch.optim.Adam(network.parameters(), lr=load.learning_rate)
    return network, optimizer, tensors(load.dataset.train_images, load.dataset.train_labels)


def torch_epoch(network: Any, optimizer: Any, batches: Iterable[Any]) -> None:
    """The loop of PyTorch's MNIST example; waits for the device at its end."""
    import torch.nn.functional as F

    from mnist_gpu.timing.trainer import synchronise

    device = next(network.parameters()).device
    for images, labels in batches:
        optimizer.zero_grad()
        F.cross_entropy(network(images.to(device)), labels.to(device)).backward()
        optimizer.step()
    synchronise(device)


def torch_loop(load: Workload) -> Callable[[], float]:
    """PyTorch's MNIST example on tensors in memory."""
    import torch
    from torch.utils.data import DataLoader

    from mnist_gpu.engines.torch.data import tensors

    network, optimizer, images = torch_parts(load)
    loader: Any = DataLoader(images, batch_size=BATCH, shuffle=True)
    dataset, device = load.dataset, next(network.parameters()).device
    test = DataLoader(tensors(dataset.test_images, dataset.test_labels), batch_size=1000)

    @torch.no_grad()
    def evaluate() -> None:
        network.eval()
        for images, _ in test:
            network(images.to(device))
        network.train()

    return _timed(lambda: torch_epoch(network, optimizer, loader), evaluate)


def lightning_fit(load: Workload) -> Callable[[], float]:
    """The module and the data module in a Trainer of their own."""
    import lightning.pytorch as L
    from lightning.pytorch.callbacks import LambdaCallback

    from mnist_gpu.engines.lightning import QUIET
    from mnist_gpu.engines.lightning.data import MNISTDataModule
    from mnist_gpu.engines.lightning.module import MNISTModule
    from mnist_gpu.engines.torch.device import choose, set_precision
    from mnist_gpu.timing.trainer import synchronise

    marks_s: list[float] = []

    def mark(trainer: Any, module: Any) -> None:
        synchronise(module.device)
        marks_s.append(time.perf_counter())

    # the validation runs before `on_train_epoch_end`
    marks = LambdaCallback(on_train_epoch_start=mark, on_validation_start=mark)
    set_precision(load.precision, choose("auto"))
    # nothing of this project is around it: no timeline, no observers, no run
    module = MNISTModule(load.network)
    data = MNISTDataModule.of(load.dataset, BATCH, load.seed)
    trainer = L.Trainer(max_epochs=0, callbacks=[marks], **QUIET)

    def once() -> float:
        # one more epoch of the same Trainer: making one is no part of an epoch
        trainer.fit_loop.max_epochs = trainer.current_epoch + 1
        trainer.fit(module, datamodule=data)
        return marks_s[-1] - marks_s[-2]

    return once


def keras_fit(load: Workload) -> Callable[[], float]:
    """`model.fit` on arrays, as in Keras' own MNIST example, TensorFlow backend."""
    keras, model, images, labels = _keras_parts(load)
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        optimizer="adam",
        metrics=["sparse_categorical_accuracy"],
    )
    test = _keras_arrays(load.dataset.test_images, load.dataset.test_labels)
    return _timed(
        lambda: model.fit(images, labels, batch_size=BATCH, verbose=0),
        lambda: model.evaluate(*test, verbose=0),
    )


def tensorflow_loop(load: Workload) -> Callable[[], float]:
    """TensorFlow's "quickstart for experts"."""
    keras, model, images, labels = _keras_parts(load)
    import tensorflow as tf

    slices = tf.data.Dataset.from_tensor_slices
    loss_object = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.Adam()
    train_loss = keras.metrics.Mean()
    train_accuracy = keras.metrics.SparseCategoricalAccuracy()
    batches = slices((images, labels)).shuffle(10000).batch(BATCH)
    test = slices(_keras_arrays(load.dataset.test_images, load.dataset.test_labels)).batch(BATCH)

    # traced at its first call, which warms up
    @tf.function
    def train_step(images: Any, labels: Any) -> None:
        with tf.GradientTape() as tape:
            predictions = model(images, training=True)
            loss = loss_object(labels, predictions)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        train_loss(loss)
        train_accuracy(labels, predictions)

    def epoch() -> None:
        for batch, targets in batches:
            train_step(batch, targets)
        # waits for the device
        float(train_loss.result())

    @tf.function
    def test_step(images: Any, labels: Any) -> None:
        train_accuracy(labels, model(images, training=False))

    def evaluate() -> None:
        for batch, targets in test:
            test_step(batch, targets)

    return _timed(epoch, evaluate)


LOOPS: dict[str, Callable[[Workload], Callable[[], float]]] = {
    "torch": torch_loop,
    "lightning": lightning_fit,
    "keras": keras_fit,
    "tensorflow": tensorflow_loop,
}


def _timed(train: Callable[[], Any], evaluate: Callable[[], Any]) -> Callable[[], float]:
    def once() -> float:
        began = time.perf_counter()
        train()
        elapsed_s = time.perf_counter() - began
        evaluate()
        return elapsed_s

    return once


def _keras_parts(load: Workload) -> tuple[Any, Any, Any, Any]:
    """Keras, the network in its layers, training images (n, 28, 28, 1) and labels (n,)."""
    from mnist_gpu.engines.keras.backend import choose

    choose("tensorflow", "auto", load.precision)
    import keras

    from mnist_gpu.engines.keras.model import build

    arrays = _keras_arrays(load.dataset.train_images, load.dataset.train_labels)
    return keras, build(load.network), *arrays


def _keras_arrays(images: Any, labels: Any) -> tuple[Any, Any]:
    return normalise(images)[..., None], labels.astype(np.int64)
