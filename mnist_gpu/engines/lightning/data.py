"""The LightningDataModule: MNIST in memory, in the protocol's order."""

from pathlib import Path
from typing import Any

import lightning.pytorch as L
from torch.utils.data import DataLoader

from mnist_gpu.engines.torch.data import EVALUATION_BATCH, Batch, EpochOrder, tensors, train_loader
from mnist_gpu.protocol.dataset import Dataset


class MNISTDataModule(L.LightningDataModule):
    """The official split, 60,000 and 10,000 images, for anybody's `Trainer`.

    Images are `(x / 255 - 0.1307) / 0.3081`, (n, 1, 28, 28) float32, made once; labels (n,) int64.
    Validation, test and prediction all see the test set. The order of the training images is one
    permutation for each (seed, epoch), the same on every machine and in every framework; several
    devices share each batch.

    Args:
        data_dir: a folder with the four MNIST files; None: `MNIST_GPU_DATA`, else the cache, else
            they are fetched.
        batch_size: images of one process in a training batch.
        seed: of the order, 0 <= seed < 2**32.

    Raises:
        UserError: from `prepare_data` and `setup`, if the files are not to be had or not MNIST.
    """

    def __init__(
        self, data_dir: str | Path | None = None, batch_size: int = 64, seed: int = 0
    ) -> None:
        super().__init__()
        # not for the loggers: module and data module may have different seeds
        self.save_hyperparameters("data_dir", "batch_size", "seed", logger=False)
        # a checkpoint with a Path in it is not loaded as `weights_only`, which is the default
        self.hparams["data_dir"] = None if data_dir is None else str(data_dir)
        self.data_dir = data_dir
        self.batch_size = batch_size
        self.seed = seed
        # the protocol's number of the Trainer's epoch 0; later in a resumed run
        self.first_epoch = 1

    @classmethod
    def of(cls, dataset: Dataset, batch_size: int, seed: int) -> "MNISTDataModule":
        """Hand out a data set that is in memory already."""
        made = cls(None, batch_size, seed)
        made._keep(dataset)
        return made

    def prepare_data(self) -> None:
        # one process of a machine fetches; the others read in `setup` what is there by then
        self.setup("fit")

    def setup(self, stage: str) -> None:
        # the Trainer calls this for each stage, and again in every process
        if not hasattr(self, "train"):
            from mnist_gpu import data

            folder = None if self.data_dir is None else str(self.data_dir)
            self._keep(data.load({"source": "mnist", "dir": folder}))

    def _keep(self, dataset: Dataset) -> None:
        self.train = tensors(dataset.train_images, dataset.train_labels)
        self.test = tensors(dataset.test_images, dataset.test_labels)

    def train_dataloader(self) -> DataLoader[Batch]:
        return train_loader(self.order())

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.test, batch_size=EVALUATION_BATCH)

    def test_dataloader(self) -> DataLoader[Any]:
        return self.val_dataloader()

    def predict_dataloader(self) -> DataLoader[Any]:
        return self.val_dataloader()

    def order(self) -> EpochOrder:
        """The sampler of the training images, for this process."""
        trainer = self.trainer
        world_size, rank = (trainer.world_size, trainer.global_rank) if trainer else (1, 0)
        return EpochOrder(
            self.train, self.batch_size, self.seed, world_size, rank, self.first_epoch
        )
