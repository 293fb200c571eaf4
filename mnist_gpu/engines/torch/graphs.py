"""CUDA graphs: a block of optimizer steps handed to the GPU in one launch.

https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

log = logging.getLogger(__name__)

Replay = Callable[[], None]
Capture = Callable[[Callable[[], None]], Replay]


class Blocks:
    """Runs blocks of steps; a block length seen in `prepare` runs as a replay.

    Args:
        run: makes the steps of one block of indices, (n,) or (members, n) int64 on the device,
            without asking the device anything.
        capture: records what its argument does and gives a function that does it again; None where
            there is nothing of the kind.
    """

    def __init__(self, run: Callable[[Tensor], None], capture: Capture | None) -> None:
        self.run = run
        self.capture = capture
        self._replays: dict[int, tuple[Tensor, Replay]] = {}

    @property
    def captured(self) -> bool:
        """Whether any block is a replay."""
        return bool(self._replays)

    def prepare(self, lengths: set[int], indices: Tensor) -> None:
        """Capture a block of every length; where that fails, blocks run one by one.

        Args:
            lengths: of the blocks to come.
            indices: on the device, at least as many as the longest block.
        """
        if self.capture is None:
            return
        for length in sorted(lengths):
            place = indices[..., :length].clone()
            try:
                replay = self.capture(lambda place=place: self.run(place))  # type: ignore[misc]
            except RuntimeError as fault:
                log.warning("no CUDA graphs: %s", str(fault).partition("\n")[0])
                self._replays.clear()
                return
            self._replays[length] = (place, replay)

    def __call__(self, indices: Tensor) -> None:
        """Make the steps of one block."""
        known = self._replays.get(indices.shape[-1])
        if known is None:
            self.run(indices)
        else:
            place, replay = known
            place.copy_(indices, non_blocking=True)
            replay()


def cuda_capture(generators: Sequence[torch.Generator]) -> Capture:
    """Capture on the current CUDA device; random numbers go on from `generators` at each replay."""
    pool = torch.cuda.graph_pool_handle()

    def capture(work: Callable[[], None]) -> Replay:
        graph = torch.cuda.CUDAGraph()
        for generator in generators:
            graph.register_generator_state(generator)
        torch.cuda.synchronize()
        with torch.cuda.graph(graph, pool=pool):
            work()
        return graph.replay

    return capture
