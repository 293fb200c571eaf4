"""PyTorch's and Lightning's switches: documented public API, each a few lines."""

import ctypes
import logging
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mnist_gpu.engines.torch.data import Batch, EpochOrder
from mnist_gpu.engines.torch.network import load_state, take_state
from mnist_gpu.engines.torch.step import TrainStep

log = logging.getLogger(__name__)
# glibc's malloc.h; mallopt(3)
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES = 1 << 30
WARM_UP_STEPS = 3  # PyTorch's own number before a capture


def possible(device: torch.device, world_size: int) -> dict[str, type]:
    """The switches there are on a kind of device, each with the type of its value."""
    names = ["channels_last", "compile", "resident_data"]
    if device.type in ("cpu", "cuda"):
        names.append("fused_adam")
    if device.type == "cpu" and sys.platform == "linux":
        names.append("keep_memory")
    # a capture of the sum of gradients between devices has not been tried
    if device.type == "cuda" and world_size == 1:
        names.append("cuda_graphs")
    return dict.fromkeys(sorted(names), bool)


def prepare(switches: Mapping[str, Any], network: nn.Module) -> None:
    """Take what concerns the process, and the network, which is on its device by now."""
    if switches.get("keep_memory"):
        # glibc otherwise gives every large tensor back to the kernel, and each step pays for the
        # page faults again; PyTorch's tuning guide names jemalloc and TCMalloc for the same reason
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
    if switches.get("channels_last"):
        network.to(memory_format=torch.channels_last)
    if switches.get("compile"):
        network.compile()


def adam_arguments(switches: Mapping[str, Any]) -> dict[str, Any]:
    """Of `torch.optim.Adam`, beside parameters and learning rate.

    A captured step has its Adam fused: the one that is not rounds its bias corrections to float32
    once steps are counted on the device (seen in float64: weights 1e-4 apart after 20 steps).
    """
    arguments = {"fused": ("fused_adam", "cuda_graphs"), "capturable": ("cuda_graphs",)}
    return {name: True for name, by in arguments.items() if any(map(switches.get, by))}


class ResidentLoader:
    """The switch `resident_data`: images stay on the device, and each batch is gathered there.

    Args:
        order: whose batches are given.
        device: where its data set is copied to, once.
    """

    def __init__(self, order: EpochOrder, device: torch.device) -> None:
        self.sampler = order
        images, labels = order.dataset.tensors  # type: ignore[attr-defined]
        self.images, self.labels = images.to(device), labels.to(device)

    def __iter__(self) -> Iterator[Batch]:
        # once an epoch, instead of a copy a batch
        indices = torch.from_numpy(self.sampler.indices()).to(self.labels.device)
        for batch in indices.split(self.sampler.batch_size):
            yield self.images[batch], self.labels[batch]

    def __len__(self) -> int:
        return math.ceil(len(self.sampler) / self.sampler.batch_size)


class GraphedStep:
    """The switch `cuda_graphs`: a whole training step, captured once and replayed, as PyTorch
    documents it: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs

    The last batch of an epoch is smaller: it is made without a graph, and so is every step where
    the capture fails. Weights and moments are what they were before the capture.

    Args:
        step: makes one step without asking the device anything; its Adam is `capturable`.
        images, labels: a batch of the size to come, on the device.
    """

    def __init__(self, step: TrainStep, images: Tensor, labels: Tensor) -> None:
        self.step = step
        self._images, self._labels = images.clone(), labels.clone()
        self._replay: Callable[[], None] | None = None
        before = take_state(step.network, step.optimizer)
        # gradients that exist would be added to at an address the graph does not know
        step.optimizer.zero_grad(set_to_none=True)
        try:
            self._replay = cuda_capture(self._run)
        except RuntimeError as exc:
            log.warning("no CUDA graphs: %s", str(exc).partition("\n")[0])
            step.optimizer.zero_grad(set_to_none=True)
        step.reset()
        load_state(step.network, step.optimizer, before)

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        """Train on one batch."""
        if self._replay is None or images.shape != self._images.shape:
            self.step(images, labels)
            return
        self._images.copy_(images, non_blocking=True)
        self._labels.copy_(labels, non_blocking=True)
        # the addresses are those of the capture: a batch is copied to where the graph reads
        self._replay()
        # copied: the next replay writes its own over them
        self.step.keep(self._logits, labels)

    def _run(self) -> None:
        self._logits = self.step.run(self._images, self._labels)


def cuda_capture(work: Callable[[], None]) -> Callable[[], None]:
    """Warm up and capture `work` on the current CUDA device; gives what does it again.

    A capture that fails leaves the device's generator "capturing" for good: it then goes on with a
    state of its own, made before.

    Raises:
        RuntimeError: something in `work` cannot be captured.
    """
    generator = torch.cuda.default_generators[torch.cuda.current_device()]
    spare = generator.clone_state()
    # as PyTorch documents: what comes before a capture runs on a stream beside the default one
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
