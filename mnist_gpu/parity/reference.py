"""The protocol's mathematics, as plainly as it can be written: autograd and Adam by hand, float64.

It shares no code with any engine. `Faults` put back, one at a time, the defaults by which
frameworks differ: they show that a comparison with this reference would notice.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from mnist_gpu.protocol.workload import Weights, Workload

BETA_1, BETA_2 = 0.9, 0.999


@dataclass(frozen=True)
class Faults:
    """Ways to be wrong; the default is right."""

    epsilon: float = 1e-8  # Adam's; Keras' default is 1e-7
    epsilon_hat: bool = False  # epsilon before the bias correction, as in Keras and TensorFlow
    bias_correction: bool = True  # MLX's Adam has none unless asked
    glorot: bool = False  # Keras' initial weights
    channels_last_flatten: bool = False  # in the order of Keras, the weights after it in PyTorch's
    drop_last: bool = False  # leave out a batch that is smaller than the rest


RIGHT = Faults()


class Reference:
    """Trains a workload on the CPU, its dropout left out; `weights`, `means` and `squares` are the
    parameters and Adam's moments by name, in PyTorch's layout."""

    def __init__(self, load: Workload, faults: Faults = RIGHT) -> None:
        self.load, self.faults, self.steps_made = load, faults, 0
        weights = _glorot(load.initial_weights) if faults.glorot else load.initial_weights
        self.weights = {
            name: torch.tensor(array, dtype=torch.float64, requires_grad=True)
            for name, array in weights.items()
        }
        self.means = {name: torch.zeros_like(weight) for name, weight in self.weights.items()}
        self.squares = {name: torch.zeros_like(weight) for name, weight in self.weights.items()}

    def logits(self, images: npt.NDArray[np.uint8]) -> Tensor:
        """Logits (n, 10) of raw images (n, 28, 28)."""
        # the protocol's images are float32; what follows is not
        x = ((torch.tensor(images, dtype=torch.float64) / 255.0 - 0.1307) / 0.3081).float()
        x = x.double().unsqueeze(1)
        for layer in self.load.network.layers:
            match layer.kind:
                case "conv":
                    x = F.conv2d(x, *self._parameters(layer.name), padding=layer.padding)
                case "linear":
                    x = F.linear(x, *self._parameters(layer.name))
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
        size = self.load.batch_size
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        return sum(self.step(batch) * len(batch) for batch in batches) / len(order)

    def step(self, indices: npt.NDArray[np.int64]) -> float:
        """Make one optimizer step on the images named by `indices`; gives their mean loss."""
        dataset = self.load.dataset
        # a Trainer may have switched gradients off around the caller
        with torch.inference_mode(False), torch.enable_grad():
            labels = torch.tensor(dataset.train_labels[indices].astype(np.int64))
            logits = self.logits(dataset.train_images[indices])
            loss = -logits.log_softmax(1)[torch.arange(len(labels)), labels].mean()
            gradients = torch.autograd.grad(loss, list(self.weights.values()))
            if len(indices) == self.load.batch_size or not self.faults.drop_last:
                self._adam(dict(zip(self.weights, gradients, strict=True)))
            return loss.item()

    def _parameters(self, name: str) -> tuple[Tensor, Tensor]:
        return self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]

    @torch.no_grad()
    def _adam(self, gradients: dict[str, Tensor]) -> None:
        """Kingma & Ba, algorithm 1 (https://arxiv.org/abs/1412.6980)."""
        self.steps_made += 1
        corrected = self.faults.bias_correction
        correction_1 = 1.0 - BETA_1**self.steps_made if corrected else 1.0
        correction_2 = 1.0 - BETA_2**self.steps_made if corrected else 1.0
        for name, weight in self.weights.items():
            gradient, m, v = gradients[name], self.means[name], self.squares[name]
            m.mul_(BETA_1).add_((1.0 - BETA_1) * gradient)
            v.mul_(BETA_2).add_((1.0 - BETA_2) * gradient**2)
            if self.faults.epsilon_hat:
                root = (v.sqrt() + self.faults.epsilon) / correction_2**0.5
            else:
                root = (v / correction_2).sqrt() + self.faults.epsilon
            weight.sub_(self.load.learning_rate * (m / correction_1) / root)


def _glorot(weights: Weights) -> Weights:
    """The same directions at the scale of Glorot's uniform distribution, biases zero."""
    scaled = {name: np.zeros_like(array) for name, array in weights.items()}
    for name, array in weights.items():
        if array.ndim > 1:
            fan_in, fan_out = array[0].size, array[:, 0].size
            limit, present = np.sqrt(6.0 / (fan_in + fan_out)), 1.0 / np.sqrt(fan_in)
            scaled[name] = array * (limit / present)
    return scaled
