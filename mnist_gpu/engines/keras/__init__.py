"""`engine=keras`: Keras 3 as its own introduction has it (`compile`, `fit`, `evaluate`,
`predict`), on TensorFlow, JAX or PyTorch."""

from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from mnist_gpu.engines.keras.layers import LayersEngine
from mnist_gpu.protocol.engine_facts import EngineFacts
from mnist_gpu.protocol.metrics import Metrics
from mnist_gpu.timing.timeline import Timeline


class KerasEngine(LayersEngine):
    """Each epoch is one `fit` over the images in the epoch's order."""

    @override
    def build(self) -> None:
        self.build_model(self.options.backend)
        self._compile(self.model)
        self.switch_on("keras", jit_compile=self.model.jit_compile)
        # what `fit` trains, and on which rows
        self.trained, self.rows = self.model, self.images
        if "resident_data" in self.switches:
            from mnist_gpu.engines.keras.model import Resident

            index = self.keras.Input((), dtype="int32")
            self.trained = self.keras.Sequential([index, Resident(self.images), self.model])
            self.rows = self.images = np.arange(len(self.labels), dtype=np.int32)
        arguments = {name: v for name, v in self.switches.items() if name != "resident_data"}
        for model in (self.model, self.trained):
            self._compile(model, **arguments)

    def _compile(self, model: Any, **arguments: Any) -> None:
        model.compile(
            optimizer=self.optimizer,
            loss=self.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["sparse_categorical_accuracy"],
            **arguments,
        )

    @override
    def train_epoch(self, epoch: int, timeline: Timeline) -> Metrics:
        self.restart_dropout(epoch)

        class Progress(self.keras.callbacks.Callback):  # type: ignore[name-defined]
            # at a batch's end Keras would wait for its loss and accuracy
            def on_train_batch_begin(self, batch: int, logs: object = None) -> None:
                timeline.progressed(batch)

            def on_train_end(self, logs: object = None) -> None:
                timeline.progressed(self.params["steps"])

        return self.train_on(self.workload.order(epoch), Progress())

    @override
    def train_on(self, order: npt.NDArray[np.int64], *callbacks: Any) -> Metrics:
        history = self.trained.fit(
            self.rows[order],
            self.labels[order],
            batch_size=self.workload.batch_size,
            shuffle=False,
            verbose=0,
            callbacks=list(callbacks),
        ).history
        return Metrics(history["loss"][0], history["sparse_categorical_accuracy"][0])

    @override
    def evaluate(self) -> Metrics:
        loss, accuracy = self.model.evaluate(self.test_images, self.test_labels, verbose=0)
        return Metrics(float(loss), float(accuracy))

    @override
    def facts(self) -> EngineFacts:
        compilers = {"tensorflow": "tf.function, XLA", "jax": "jax.jit", "torch": "torch.compile"}
        compiled = compilers[self.backend.name]
        if not self.model.jit_compile:
            compiled = "tf.function" if self.backend.name == "tensorflow" else "none"
        return self.facts_of(
            "Keras",
            self.keras.__version__,
            "fit: shuffle=False on images in the protocol's order, one fit an epoch",
            "fit: verbose=0, no progress bar",
            compile=compiled,
            data_wait_hidden="Keras' fit does not tell how long it waits for a batch",
        )


ENGINE = KerasEngine
