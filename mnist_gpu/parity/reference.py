"""The protocol's mathematics, as plainly as it can be written: autograd and Adam by hand, float64.

It shares no code with any engine. `Faults` put back, one at a time, the defaults by which
frameworks differ: they show that a comparison with this reference would notice.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from mnist_gpu.protocol.dataset import Dataset
from mnist_gpu.protocol.network import Network


@dataclass(frozen=True)
class Faults:
    """Ways to be wrong; the default is right.

    Attributes:
        epsilon: Adam's; Keras' default is 1e-7.
        epsilon_hat: epsilon before the bias correction, as in Keras and TensorFlow.
        bias_correction: MLX's Adam has none unless asked.
        glorot: Keras' initial weights.
        channels_last_flatten: the flatten in the order of Keras, its weights in PyTorch's.
        drop_last: leave out a batch that is smaller than the rest.
    """

    epsilon: float = 1e-8
    epsilon_hat: bool = False
    bias_correction: bool = True
    glorot: bool = False
    channels_last_flatten: bool = False
    drop_last: bool = False


NO_FAULTS = Faults()
BETA_1, BETA_2 = 0.9, 0.999


class Reference:
    """Trains a network without dropout on the CPU.

    Args:
        network: the layers; dropout is left out whatever its rate.
        weights: initial weights by name, neutral layout.
        dataset: images and labels.
        learning_rate: Adam's alpha.
        batch_size: of a full batch.
        faults: what to do wrong.
    """

    def __init__(
        self,
        network: Network,
        weights: Mapping[str, npt.NDArray[Any]],
        dataset: Dataset,
        learning_rate: float = 1e-3,
        batch_size: int = 64,
        faults: Faults = NO_FAULTS,
    ) -> None:
        self.network = network
        self.dataset = dataset
        self.learning_rate, self.batch_size, self.faults = learning_rate, batch_size, faults
        if faults.glorot:
            weights = _glorot(weights)
        self.weights = {
            name: torch.tensor(array, dtype=torch.float64, requires_grad=True)
            for name, array in weights.items()
        }
        self.means = {name: torch.zeros_like(w) for name, w in self.weights.items()}
        self.squares = {name: torch.zeros_like(w) for name, w in self.weights.items()}
        self.gradients: dict[str, Tensor] = {}
        self.steps_made = 0

    def logits(self, images: npt.NDArray[np.uint8]) -> Tensor:
        """Logits (n, 10) of raw images (n, 28, 28)."""
        # the protocol's images are float32; what follows is not
        x = ((torch.tensor(images, dtype=torch.float64) / 255.0 - 0.1307) / 0.3081).float()
        x = x.double().unsqueeze(1)
        for layer in self.network.layers:
            weight = self.weights.get(f"{layer.name}.weight")
            bias = self.weights.get(f"{layer.name}.bias")
            match layer.kind:
                case "conv":
                    assert weight is not None
                    x = F.conv2d(x, weight, bias, padding=layer.padding)
                case "linear":
                    assert weight is not None
                    x = F.linear(x, weight, bias)
                case "relu":
                    x = x.clamp_min(0.0)
                case "max_pool":
                    x = F.max_pool2d(x, layer.size)
                case "flatten":
                    x = x.permute(0, 2, 3, 1) if self.faults.channels_last_flatten else x
                    x = x.flatten(1)
        return x

    def epoch(self, order: npt.NDArray[np.int64]) -> float:
        """Make a step for every batch of `order` (n,); gives the mean loss over its images."""
        starts = range(0, len(order), self.batch_size)
        batches = [order[start : start + self.batch_size] for start in starts]
        return sum(self.step(batch) * len(batch) for batch in batches) / len(order)

    def step(self, indices: npt.NDArray[np.int64]) -> float:
        """Make one optimizer step on the images named by `indices`; gives their mean loss."""
        # a Trainer may have switched gradients off around the caller
        with torch.inference_mode(False), torch.enable_grad():
            labels = torch.tensor(self.dataset.train_labels[indices].astype(np.int64))
            logits = self.logits(self.dataset.train_images[indices])
            loss = -logits.log_softmax(1)[torch.arange(len(labels)), labels].mean()
            found = torch.autograd.grad(loss, list(self.weights.values()))
            self.gradients = dict(zip(self.weights, found, strict=True))
            if len(indices) == self.batch_size or not self.faults.drop_last:
                with torch.no_grad():
                    self._adam()
            return loss.item()

    def _adam(self) -> None:
        """Kingma & Ba, algorithm 1 (https://arxiv.org/abs/1412.6980)."""
        self.steps_made += 1
        corrected = self.faults.bias_correction
        correction_1 = 1.0 - BETA_1**self.steps_made if corrected else 1.0
        correction_2 = 1.0 - BETA_2**self.steps_made if corrected else 1.0
        for name, weight in self.weights.items():
            gradient, m, v = self.gradients[name], self.means[name], self.squares[name]
            m.mul_(BETA_1).add_((1.0 - BETA_1) * gradient)
            v.mul_(BETA_2).add_((1.0 - BETA_2) * gradient**2)
            if self.faults.epsilon_hat:
                root = (v.sqrt() + self.faults.epsilon) / correction_2**0.5
            else:
                root = (v / correction_2).sqrt() + self.faults.epsilon
            weight.sub_(self.learning_rate * (m / correction_1) / root)


def _glorot(weights: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """The same directions at the scale of Glorot's uniform distribution, biases zero."""
    scaled = {}
    for name, array in weights.items():
        if array.ndim == 1:
            scaled[name] = np.zeros_like(array)
            continue
        field = int(np.prod(array.shape[2:]))
        fan_in, fan_out = array.shape[1] * field, array.shape[0] * field
        limit, present = np.sqrt(6.0 / (fan_in + fan_out)), 1.0 / np.sqrt(fan_in)
        scaled[name] = array * (limit / present)
    return scaled
