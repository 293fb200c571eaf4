"""`engine=keras`: Keras 3 as its own introduction has it (`compile`, `fit`, `evaluate`,
`predict`), on TensorFlow, JAX or PyTorch."""

from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from mnist_gpu.engines.facts import EngineFacts
from mnist_gpu.engines.keras.layers import LayersEngine
from mnist_gpu.protocol.metrics import Metrics
from mnist_gpu.timing.timeline import Timeline

EVALUATION_BATCH = 32  # Keras' default


class KerasEngine(LayersEngine):
    """Each epoch is one `fit` over the images in the epoch's order."""

    @override
    def build(self) -> None:
        self.build_model(self.options.backend)
        self._compile(self.model)
        self.switch_on("keras", jit_compile=self.model.jit_compile)
        self._compile(self.model, **self._arguments())
        # what `fit` trains, and on which rows
        self.trained, self.rows = self.model, self.images
        if "resident_data" in self.switches:
            self._keep_images_on_the_device()

    def _keep_images_on_the_device(self) -> None:
        from mnist_gpu.engines.keras.model import Resident

        images = Resident(self.images)
        index = self.keras.Input((), dtype="int32")
        self.trained = self.keras.Sequential([index, images, self.model])
        self._compile(self.trained, **self._arguments())
        self.rows = self.images = np.arange(len(self.labels), dtype=np.int32)

    def _arguments(self) -> dict[str, Any]:
        return {k: v for k, v in self.switches.items() if k != "resident_data"}

    def _compile(self, model: Any, **switches: Any) -> None:
        model.compile(
            optimizer=self.optimizer,
            loss=self.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["sparse_categorical_accuracy"],
            **switches,
        )

    @override
    def warm_up(self) -> None:
        before = self.state()
        self._fit(np.arange(_first_and_last(len(self.labels), self.workload.batch_size)))
        few = _first_and_last(len(self.test_labels), EVALUATION_BATCH)
        self.model.evaluate(self.test_images[:few], self.test_labels[:few], verbose=0)
        self.load_state(before)

    @override
    def train_epoch(self, epoch: int, timeline: Timeline) -> Metrics:
        self.restart_dropout(epoch)

        class Progress(self.keras.callbacks.Callback):  # type: ignore[name-defined, misc]
            # at a batch's end, Keras would wait for its loss and accuracy
            def on_train_batch_begin(self, batch: int, logs: object = None) -> None:
                timeline.progressed(batch)

            def on_train_end(self, logs: object = None) -> None:
                timeline.progressed(self.params["steps"])

        return self._fit(self.workload.order(epoch), Progress())

    def _fit(self, order: npt.NDArray[np.int64], *callbacks: Any) -> Metrics:
        logs = self.trained.fit(
            self.rows[order],
            self.labels[order],
            batch_size=self.workload.batch_size,
            shuffle=False,
            verbose=0,
            callbacks=list(callbacks),
        ).history
        return Metrics(float(logs["loss"][0]), float(logs["sparse_categorical_accuracy"][0]))

    @override
    def evaluate(self) -> Metrics:
        loss, accuracy = self.model.evaluate(self.test_images, self.test_labels, verbose=0)
        return Metrics(float(loss), float(accuracy))

    @override
    def facts(self) -> EngineFacts:
        jit = self.model.jit_compile
        compiled = {
            "tensorflow": "tf.function, XLA" if jit else "tf.function",
            "jax": "jax.jit" if jit else "none",
            "torch": "torch.compile" if jit else "none",
        }
        return self.facts_of(
            "Keras",
            self.keras.__version__,
            compile=compiled[self.backend.name],
            deviations=[
                "fit: shuffle=False on images in the protocol's order, one fit an epoch",
                "fit: verbose=0, no progress bar",
            ],
            data_wait_hidden="Keras' fit does not tell how long it waits for a batch",
        )


def _first_and_last(n: int, batch_size: int) -> int:
    """How many rows make one batch of either size that `n` rows fall into."""
    return batch_size + n % batch_size


ENGINE = KerasEngine
