"""The LightningModule: the standard network, its loss and its optimizer."""

import lightning.pytorch as L
import torch
import torch.nn.functional as F
from torch import Tensor

from mnist_gpu.engines.torch.data import Batch
from mnist_gpu.engines.torch.network import build_network
from mnist_gpu.protocol.network import Network, initial_weights, named_network
from mnist_gpu.protocol.streams import dropout_seed


class MNISTModule(L.LightningModule):
    """Classifies digits; an ordinary module for anybody's `Trainer`.

    Logs, once an epoch, the means of `train_loss` and `train_accuracy`, `val_loss` and
    `val_accuracy`, `test_loss` and `test_accuracy`. Two things follow the benchmark's protocol: the
    initial weights come from `seed`, the same in every framework, and so does dropout's random
    stream, which starts anew at every epoch.

    Args:
        model: `cnn` (1,199,882 parameters), `mlp` or `lenet5`; or a network as data, which
            `load_from_checkpoint` has to be given again.
        learning_rate: of Adam.
        seed: of initial weights and dropout, 0 <= seed < 2**32.

    Raises:
        UserError: there is no such model.

    Example:
        >>> trainer = L.Trainer(max_epochs=1)
        >>> trainer.fit(MNISTModule(), datamodule=MNISTDataModule())
    """

    def __init__(
        self, model: str | Network = "cnn", learning_rate: float = 1e-3, seed: int = 0
    ) -> None:
        super().__init__()
        network = model if isinstance(model, Network) else named_network(model)
        model = network.name  # which a checkpoint and a logger can hold
        self.save_hyperparameters("model", "learning_rate", "seed")
        self.learning_rate = learning_rate
        self.seed = seed
        # the protocol's number of the Trainer's epoch 0; later in a resumed run
        self.first_epoch = 1
        self.network = build_network(network)
        self.network.load(initial_weights(network, seed))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, 10) of normalised images (n, 1, 28, 28)."""
        logits: Tensor = self.network(images)
        return logits

    def on_train_epoch_start(self) -> None:
        epoch = self.first_epoch + self.current_epoch
        # each device drops by a stream of its own, as parts of one batch do
        torch.manual_seed(dropout_seed(self.seed, epoch, self.global_rank))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._loss(batch, "train")

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._loss(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._loss(batch, "test")

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        logits: Tensor = self(images)
        return logits

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)

    def _loss(self, batch: Batch, stage: str) -> Tensor:
        images, labels = batch
        logits = self(images)
        loss = F.cross_entropy(logits, labels)
        accuracy = (logits.argmax(1) == labels).float().mean()
        # the Trainer averages over the epoch, a batch weighing as many images as it has
        self.log_dict(
            {f"{stage}_loss": loss, f"{stage}_accuracy": accuracy},
            on_step=False,
            on_epoch=True,
            batch_size=len(labels),
            sync_dist=True,
        )
        return loss
