"""One training step as PyTorch's tutorials write it, and the sums over an epoch."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from mnist_gpu.protocol.workload import Metrics


class Totals:
    """The loss and the answers of an epoch's steps, kept on the device: nothing waits for it.

    What is right among the answers is counted once, at the end: it would be a tenth of a small
    network's step.

    Args:
        device: where the batches are.
        dtype: of the sum of losses.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self.loss_sum = torch.zeros((), dtype=dtype, device=device)
        self._logits: list[Tensor] = []
        self._labels: list[Tensor] = []

    def add_loss(self, loss: Tensor, images: int) -> None:
        """Add the mean loss of a batch of so many images."""
        self.loss_sum.add_(loss.detach(), alpha=images)

    def keep(self, logits: Tensor, labels: Tensor) -> None:
        """Keep a batch's answers until the epoch is over."""
        self._logits.append(logits)
        self._labels.append(labels)

    def take(self) -> Metrics:
        """Means over all since the last call; waits for the device."""
        labels = torch.cat(self._labels)
        correct = (torch.cat(self._logits).argmax(1) == labels).sum()
        metrics = Metrics(self.loss_sum.item() / len(labels), correct.item() / len(labels))
        self.reset()
        return metrics

    def reset(self) -> None:
        """Forget all since the last call."""
        self.loss_sum.zero_()
        self._logits.clear()
        self._labels.clear()


class TrainStep:
    """Forward, loss, backward, update.

    Args:
        network: in training mode.
        optimizer: over its parameters.
        autocast: makes the context of the forward pass.
        scaler: of the loss, for float16; None for none.
        totals: each batch is added to it.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: Optimizer,
        autocast: Callable[[], AbstractContextManager[Any]],
        scaler: torch.amp.GradScaler | None,
        totals: Totals,
    ) -> None:
        self.network = network
        self.optimizer = optimizer
        self.autocast = autocast
        self.scaler = scaler
        self.totals = totals

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        """Train on one batch: images (n, 1, 28, 28), labels (n,), both on the device."""
        self.totals.keep(self.run(images, labels), labels)

    def run(self, images: Tensor, labels: Tensor) -> Tensor:
        """The step's work on the device; gives the logits."""
        self.optimizer.zero_grad()
        with self.autocast():
            logits = self.network(images)
            loss = F.cross_entropy(logits, labels)
        if self.scaler is None:
            loss.backward()
            self.optimizer.step()
        else:
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self.totals.add_loss(loss, len(labels))
        return logits.detach()
