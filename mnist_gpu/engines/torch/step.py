"""One training step as PyTorch's tutorials write it, and what an epoch of them comes to."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer

from mnist_gpu.engines.torch.device import autocast
from mnist_gpu.engines.torch.network import MNISTNetwork
from mnist_gpu.protocol.workload import Metrics


class EpochMeans:
    """What the batches of an epoch come to, kept on the device, so that nothing waits for it
    within the epoch.

    What is right among the answers is counted once, at the end: it would be a tenth of a small
    network's step.

    Args:
        images: of an epoch, on this device.
        dtype: of losses and answers.
        device: of losses, answers and labels.
    """

    def __init__(self, images: int, dtype: torch.dtype, device: torch.device) -> None:
        self.loss_sum = torch.zeros((), dtype=dtype, device=device)
        # Made before: answers kept one by one would lie between what the steps leave free. Whether
        # glibc gives that back to the system would depend on where, and with it a tenth of a step's
        # time, from epoch to epoch; a loop that keeps nothing has every step pay
        self._logits = torch.empty(images, 10, dtype=dtype, device=device)
        self._labels = torch.empty(images, dtype=torch.int64, device=device)
        self._kept = 0

    def add(self, loss: Tensor, images: int) -> None:
        """Add a batch's mean loss over so many images."""
        # detached: the sum would hold on to every graph of the epoch
        self.loss_sum.add_(loss.detach(), alpha=images)

    def keep(self, logits: Tensor, labels: Tensor) -> None:
        """Keep a batch's answers until the epoch is over."""
        end = self._kept + len(labels)
        if end > len(self._labels):
            # longer than an epoch: many steps that are traced; what is there stays
            self._logits.resize_(2 * end, 10)
            self._labels.resize_(2 * end)
        self._logits[self._kept : end] = logits.detach()
        self._labels[self._kept : end] = labels
        self._kept = end

    def metrics(self) -> Metrics:
        """Means over all images since the last call; waits for the device."""
        logits, labels = self._logits[: self._kept], self._labels[: self._kept]
        correct = (logits.argmax(1) == labels).sum()
        metrics = Metrics(self.loss_sum.item() / len(labels), correct.item() / len(labels))
        self.reset()
        return metrics

    def reset(self) -> None:
        """Forget all batches since the last call."""
        self.loss_sum.zero_()
        self._kept = 0


class TrainStep(EpochMeans):
    """Forward, loss, backward, update.

    Args:
        network: in training mode.
        optimizer: over its parameters.
        precision: of the forward pass; `16-mixed` scales the loss as well.
        device: of the network.
        images: of an epoch, on this device.
    """

    def __init__(
        self,
        network: MNISTNetwork,
        optimizer: Optimizer,
        precision: str,
        device: torch.device,
        images: int,
    ) -> None:
        super().__init__(images, next(network.parameters()).dtype, device)
        self.network = network
        self.optimizer = optimizer
        self.autocast = autocast(precision, device)
        self.scaler = torch.amp.GradScaler(device.type) if precision == "16-mixed" else None

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        """Train on one batch: images (n, 1, 28, 28), labels (n,), both on the device."""
        self.keep(self.run(images, labels), labels)

    def run(self, images: Tensor, labels: Tensor) -> Tensor:
        """The step's work on the device; gives the logits."""
        # before the forward pass, as the tutorials have it; sets gradients to None
        self.optimizer.zero_grad()
        with self.autocast():
            logits: Tensor = self.network(images)
            loss = F.cross_entropy(logits, labels)
        if self.scaler is None:
            loss.backward()
            self.optimizer.step()
        else:
            # half precision loses small gradients; the scaler skips a step whose gradients overflow
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self.add(loss, len(labels))
        return logits.detach()
