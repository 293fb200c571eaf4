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
        dtype: of the losses.
        device: of losses, answers and labels.
    """

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self.loss_sum = torch.zeros((), dtype=dtype, device=device)
        self._logits: list[Tensor] = []
        self._labels: list[Tensor] = []

    def add(self, loss: Tensor, images: int) -> None:
        """Add a batch's mean loss over so many images."""
        # detached: the sum would hold on to every graph of the epoch
        self.loss_sum.add_(loss.detach(), alpha=images)

    def keep(self, logits: Tensor, labels: Tensor) -> None:
        """Keep a batch's answers until the epoch is over."""
        self._logits.append(logits.detach())
        self._labels.append(labels)

    def metrics(self) -> Metrics:
        """Means over all images since the last call; waits for the device."""
        labels = torch.cat(self._labels)
        correct = (torch.cat(self._logits).argmax(1) == labels).sum()
        metrics = Metrics(self.loss_sum.item() / len(labels), correct.item() / len(labels))
        self.reset()
        return metrics

    def reset(self) -> None:
        """Forget all batches since the last call."""
        self.loss_sum.zero_()
        self._logits.clear()
        self._labels.clear()


class TrainStep(EpochMeans):
    """Forward, loss, backward, update.

    Args:
        network: in training mode.
        optimizer: over its parameters.
        precision: of the forward pass; `16-mixed` scales the loss as well.
        device: of the network.
    """

    def __init__(
        self, network: MNISTNetwork, optimizer: Optimizer, precision: str, device: torch.device
    ) -> None:
        super().__init__(next(network.parameters()).dtype, device)
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
