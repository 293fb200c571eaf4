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

Replay = Callable[[], None]
Capture = Callable[[Callable[[], None]], Replay]


class GraphedStep:
    """Replays a captured step for batches of one size and makes any other step by itself.

    The last batch of an epoch is smaller: it is made without a graph. Adam has to be `capturable`.

    Args:
        step: makes one step without asking the device anything.
    """

    def __init__(self, step: TrainStep) -> None:
        self.step = step
        self._replay: Replay | None = None

    @property
    def captured(self) -> bool:
        """Whether steps are replayed; False before `prepare` and where it failed."""
        return self._replay is not None

    def prepare(self, images: Tensor, labels: Tensor, capture: Capture | None = None) -> None:
        """Capture a step on a batch of the size to come.

        Changes weights, moments and sums: whoever calls it puts them back.

        Args:
            images: of a batch, on the device.
            labels: likewise.
            capture: records what its argument does and gives a function that does it again.
        """
        self._images, self._labels = images.clone(), labels.clone()
        # gradients that exist would be added to at an address the graph does not know
        self.step.optimizer.zero_grad(set_to_none=True)
        try:
            self._replay = (capture or cuda_capture)(self._run)
        except RuntimeError as exc:
            log.warning("no CUDA graphs: %s", str(exc).partition("\n")[0])
            self.step.optimizer.zero_grad(set_to_none=True)

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        """Train on one batch."""
        if self._replay is None or images.shape != self._images.shape:
            self.step(images, labels)
            return
        self._images.copy_(images, non_blocking=True)
        self._labels.copy_(labels, non_blocking=True)
        self._replay()
        # the next replay writes its own over them
        self.step.totals.keep(self._logits.clone(), labels)

    def _run(self) -> None:
        self._logits = self.step.run(self._images, self._labels)


def cuda_capture(work: Callable[[], None]) -> Replay:
    """Warm up and capture `work` on the current CUDA device.

    A capture that fails leaves the device's generator "capturing" for good: it then goes on with a
    state of its own, made before.

    Raises:
        RuntimeError: something in `work` cannot be captured.
    """
    generator = torch.cuda.default_generators[torch.cuda.current_device()]
    spare = generator.clone_state()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP_STEPS):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            work()
    except RuntimeError:
        generator.graphsafe_set_state(spare)
        raise
    return graph.replay
