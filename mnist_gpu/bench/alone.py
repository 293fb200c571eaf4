"""Each framework's own code for the protocol's training, without anything of this project around
it: what an engine is held against.

A function makes everything ready and gives one that trains an epoch and returns its seconds.
"""

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from mnist_gpu.bench.workload import BATCH
from mnist_gpu.protocol.dataset import normalise
from mnist_gpu.protocol.workload import Workload

Once = Callable[[], float]


def torch_loop(load: Workload) -> Once:
    """PyTorch's MNIST example on tensors in memory."""
    import torch
    import torch.nn.functional as F
    from torch.utils.data import DataLoader

    from mnist_gpu.engines.torch.data import tensors
    from mnist_gpu.engines.torch.network import build_network

    network = build_network(load.network)
    optimizer = torch.optim.Adam(network.parameters(), lr=load.learning_rate)
    images = tensors(load.dataset.train_images, load.dataset.train_labels)
    loader: DataLoader[Any] = DataLoader(images, batch_size=BATCH, shuffle=True)

    def once() -> float:
        network.train()
        began = time.perf_counter()
        for batch, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(network(batch), labels).backward()
            optimizer.step()
        return time.perf_counter() - began

    return once


def lightning_fit(load: Workload) -> Once:
    """The module and the data module in a Trainer of their own."""
    import lightning.pytorch as L

    from mnist_gpu.engines.lightning import QUIET
    from mnist_gpu.engines.lightning.data import MNISTDataModule
    from mnist_gpu.engines.lightning.module import MNISTModule

    class Seconds(L.Callback):
        def on_train_epoch_start(self, trainer: L.Trainer, pl_module: Any) -> None:
            self.began = time.perf_counter()

        def on_validation_start(self, trainer: L.Trainer, pl_module: Any) -> None:
            self.elapsed_s = time.perf_counter() - self.began

    seconds = Seconds()
    module = MNISTModule(load.network)
    data = MNISTDataModule.of(load.dataset, BATCH, load.seed)
    trainer = L.Trainer(accelerator="cpu", max_epochs=0, callbacks=[seconds], **QUIET)

    def once() -> float:
        trainer.fit_loop.max_epochs = trainer.current_epoch + 1
        trainer.fit(module, datamodule=data)
        return float(seconds.elapsed_s)

    return once


def keras_fit(load: Workload) -> Once:
    """`model.fit` on arrays, as in Keras' own MNIST example, TensorFlow backend."""
    keras = _keras()
    model = _keras_model(load)
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        optimizer="adam",
        metrics=["sparse_categorical_accuracy"],
    )
    images, labels = _arrays(load)

    def once() -> float:
        began = time.perf_counter()
        model.fit(images, labels, batch_size=BATCH, verbose=0)
        return time.perf_counter() - began

    return once


def tensorflow_loop(load: Workload) -> Once:
    """TensorFlow's "quickstart for experts"."""
    keras = _keras()
    import tensorflow as tf

    model = _keras_model(load)
    loss_object = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.Adam()
    train_loss = keras.metrics.Mean()
    train_accuracy = keras.metrics.SparseCategoricalAccuracy()
    images, labels = _arrays(load)
    batches = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(10000).batch(BATCH)

    @tf.function
    def train_step(images: Any, labels: Any) -> None:
        with tf.GradientTape() as tape:
            predictions = model(images, training=True)
            loss = loss_object(labels, predictions)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        train_loss(loss)
        train_accuracy(labels, predictions)

    def once() -> float:
        began = time.perf_counter()
        for batch, targets in batches:
            train_step(batch, targets)
        return time.perf_counter() - began

    return once


ALONE: dict[str, Callable[[Workload], Once]] = {
    "torch": torch_loop,
    "lightning": lightning_fit,
    "keras": keras_fit,
    "tensorflow": tensorflow_loop,
}


def _keras() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras

    return keras


def _keras_model(load: Workload) -> Any:
    layers = _keras().layers
    stack: list[Any] = [_keras().Input((28, 28, 1))]
    for layer in load.network.layers:
        match layer.kind:
            case "conv":
                stack.append(layers.Conv2D(layer.filters, layer.kernel))
            case "relu":
                stack.append(layers.ReLU())
            case "max_pool":
                stack.append(layers.MaxPooling2D(layer.size))
            case "dropout":
                stack.append(layers.Dropout(layer.rate))
            case "flatten":
                stack.append(layers.Flatten())
            case "linear":
                stack.append(layers.Dense(layer.units))
    return _keras().Sequential(stack)


def _arrays(load: Workload) -> tuple[Any, Any]:
    dataset = load.dataset
    return normalise(dataset.train_images)[..., None], dataset.train_labels.astype(np.int64)
