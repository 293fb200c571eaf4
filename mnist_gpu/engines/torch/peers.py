"""The processes that train one run together, one on each device."""

from collections.abc import Sequence

import torch
from torch import Tensor


class Peers:
    """One process among its peers; by default it is alone and every call does nothing.

    After each backward pass the gradients are averaged in one all-reduce over one flat buffer: the
    algorithm of `DistributedDataParallel` with a single bucket; the hand-written backward pass has
    no hooks for its own. All devices get the same sums, so all keep the same weights.

    Args:
        rank: which process, from 0.
        world: how many there are.
        local_world: how many of them on this machine, which share its threads.
        device: what this one computes on.
    """

    def __init__(
        self,
        rank: int = 0,
        world: int = 1,
        local_world: int = 1,
        device: torch.device | None = None,
    ) -> None:
        self.rank = rank
        self.world = world
        self.local_world = local_world
        self.device = device or torch.device("cpu")
        self._flat: Tensor | None = None
        self._places: list[Tensor] = []

    def average(self, parameters: Sequence[Tensor]) -> None:
        """Replace every `.grad` by its mean over the devices."""
        if self.world == 1:
            return
        gradients = [_gradient(parameter) for parameter in parameters]
        if self._flat is None:
            self._lay_out(gradients)
        assert self._flat is not None
        torch._foreach_copy_(self._places, gradients)
        torch.distributed.all_reduce(self._flat)
        self._flat.div_(self.world)
        for parameter, place in zip(parameters, self._places, strict=True):
            parameter.grad = place

    def totals(self, *numbers: float) -> list[float]:
        """The sum of each number over the devices."""
        if self.world == 1:
            return list(numbers)
        sums = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(sums)
        return [float(total) for total in sums.tolist()]

    def part(self, n: int) -> slice:
        """The process's own run of `n` things, so that each is somebody's exactly once."""
        return slice(self.rank * n // self.world, (self.rank + 1) * n // self.world)

    def _lay_out(self, gradients: Sequence[Tensor]) -> None:
        """One buffer, with a view for each gradient in that gradient's own memory order."""
        sizes = [gradient.numel() for gradient in gradients]
        self._flat = torch.zeros(sum(sizes), dtype=gradients[0].dtype, device=gradients[0].device)
        parts = self._flat.split(sizes)
        self._places = [
            part.as_strided(gradient.shape, gradient.stride(), part.storage_offset())
            for part, gradient in zip(parts, gradients, strict=True)
        ]


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad
