"""Many seeds trained at once on one device, each exactly as it would train alone.

The network is far too small to fill an accelerator, and on a CPU most of a small network's step is
overhead. Stacking the members turns every operation into one larger one: weights, batches and
dropout masks are each seed's own, and nothing passes from one member to another.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from typing_extensions import override

from mnist_gpu.engines.torch import layers, stacked
from mnist_gpu.engines.torch.program import Program
from mnist_gpu.protocol.initial import initial_weights
from mnist_gpu.protocol.metrics import Metrics
from mnist_gpu.protocol.workload import Weights

EVALUATION_BATCH = 100


class EnsembleProgram(Program):
    """`Program` for every seed of `workload.seeds`; metrics are means over the members."""

    _accuracies: tuple[float, ...] = ()

    @override
    def _make_network(self) -> Any:
        load = self.workload
        network = stacked.StackedNetwork(
            load.network,
            load.ensemble,
            self.precision.parameters,
            bool(self.tuning["relu_after_pool"]),
        )
        network.load([initial_weights(load.network, seed) for seed in load.seeds])
        return network

    @override
    def _make_loss(self) -> layers.Loss:
        return stacked.CrossEntropy()

    @property
    @override
    def shape_of_sums(self) -> tuple[int, ...]:
        return (self.workload.ensemble,)

    @override
    def order(self, epoch: int) -> torch.Tensor:
        """Each member's order of `epoch`: (members, n) int64, on the host."""
        orders = [self.workload.order_of(seed, epoch) for seed in self.workload.seeds]
        return torch.from_numpy(np.stack(orders))

    @override
    def take_metrics(self) -> Metrics:
        """Means over the members."""
        seen = self._seen
        losses, right = self._loss_sum.cpu().double() / seen, self._correct.cpu().double() / seen
        self._loss_sum.zero_()
        self._correct.zero_()
        self._seen = 0
        return Metrics(losses.mean().item(), right.mean().item())

    @override
    @torch.inference_mode()
    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (members, n, 10) of `images`, dropout off, on the device."""
        return torch.cat([self.network(batch) for batch in images.split(EVALUATION_BATCH)], 1)

    @override
    @torch.inference_mode()
    def evaluate(self) -> Metrics:
        """Means over the members; `member_accuracies` then has each."""
        logits = self.logits(self.test_images)
        labels = self.test_labels.expand(len(logits), -1)
        losses, correct = stacked.CrossEntropy().forward(logits, labels)
        right = correct.cpu().numpy()
        self._accuracies = tuple(float(count) / labels.shape[-1] for count in right)
        return Metrics(losses.mean().item(), float(right.sum()) / labels.numel())

    @override
    def member_accuracies(self) -> list[float]:
        return list(self._accuracies)

    @override
    def predict(self) -> npt.NDArray[np.float32]:
        """The first member's logits over the test set: (10000, 10) float32."""
        return self.logits(self.test_images)[0].float().cpu().numpy()

    @override
    def named_weights(self, weights: Weights) -> Weights:
        """Every member's own, as `seed3/conv1.weight`."""
        return {
            f"seed{seed}/{name}": array[member]
            for name, array in weights.items()
            for member, seed in enumerate(self.workload.seeds)
        }
