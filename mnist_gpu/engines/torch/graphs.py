"""The switch `cuda_graphs`: a whole training step, captured once and replayed.

As PyTorch documents it ("Whole-network capture"):
https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from mnist_gpu.engines.torch.step import TrainStep

log = logging.getLogger(__name__)
WARM_UP_STEPS = 3  # PyTorch's own number


class GraphedStep:
    """Replays a captured step for batches of one size and makes any other step by itself.

    The last batch of an epoch is smaller: it is made without a graph. Adam has to be `capturable`.

    Args:
        step: makes one step without asking the device anything.
    """

    def __init__(self, step: TrainStep) -> None:
        self.step = step
        self._replay: Callable[[], None] | None = None

    @property
    def captured(self) -> bool:
        """Whether steps are replayed; False before `capture` and where it failed."""
        return self._replay is not None

    def capture(self, images: Tensor, labels: Tensor) -> None:
        """Warm up and capture on a batch of the size to come. Changes weights, moments and sums:
        whoever calls it puts them back.

        A capture that fails leaves the default generator "capturing" for good, so it gets a state
        of its own again, made before.
        """
        self._images, self._labels = images.clone(), labels.clone()
        generator = torch.cuda.default_generators[images.device.index or 0]
        spare = generator.clone_state()
        try:
            self._warm_up()
            graph = torch.cuda.CUDAGraph()
            self.step.optimizer.zero_grad(set_to_none=True)
            with torch.cuda.graph(graph):
                self.step.run(self._images, self._labels)
        except RuntimeError as exc:
            log.warning("no CUDA graphs: %s", str(exc).partition("\n")[0])
            generator.graphsafe_set_state(spare)
            self.step.optimizer.zero_grad(set_to_none=True)
            return
        self._replay = graph.replay

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        """Train on one batch."""
        if self._replay is None or images.shape != self._images.shape:
            self.step(images, labels)
            return
        self._images.copy_(images, non_blocking=True)
        self._labels.copy_(labels, non_blocking=True)
        self._replay()
        self.step.totals.seen += len(labels)

    def _warm_up(self) -> None:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP_STEPS):
                self.step.run(self._images, self._labels)
        torch.cuda.current_stream().wait_stream(stream)
