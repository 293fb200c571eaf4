"""One training step as PyTorch's tutorials write it, and the sums over an epoch."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from mnist_gpu.protocol.metrics import Metrics


class Totals:
    """Sums of losses and right answers, kept on the device: adding to them waits for nothing.

    Args:
        device: where the batches are.
        dtype: of the sum of losses.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self.loss_sum = torch.zeros((), dtype=dtype, device=device)
        self.correct = torch.zeros((), dtype=torch.int64, device=device)
        self.seen = 0

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add a batch with its mean loss."""
        self.loss_sum += loss.detach() * len(labels)
        self.correct += (logits.argmax(1) == labels).sum()

    def take(self) -> Metrics:
        """Means over all that was added since the last call; waits for the device."""
        metrics = Metrics(self.loss_sum.item() / self.seen, self.correct.item() / self.seen)
        self.loss_sum.zero_()
        self.correct.zero_()
        self.seen = 0
        return metrics


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
        self.run(images, labels)
        self.totals.seen += len(labels)

    def run(self, images: Tensor, labels: Tensor) -> None:
        """The step's work on the device."""
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
        self.totals.add(loss, logits, labels)
