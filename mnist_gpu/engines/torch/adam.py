"""Adam on the device: PyTorch's fused kernel called straight, its state in place from the start."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

BETAS = (0.9, 0.999)
EPSILON = 1e-8
# GradScaler's defaults
FIRST_SCALE = 2.0**16
GROWTH, BACKOFF, GROWTH_INTERVAL = 2.0, 0.5, 2000


class Adam:
    """Kingma & Ba, algorithm 1, as `torch.optim.Adam` computes it, over gradients in `.grad`.

    The fused kernel is called without `Optimizer.step`, whose hooks and profiler marks cost `mlp` a
    tenth of a step, and a quarter once Lightning is imported. All state has its place from the
    start and is changed in place, so that a captured CUDA graph stays valid.

    Args:
        parameters: by name; they require gradients.
        learning_rate: Adam's alpha.
        fused: whether the device has the fused kernel.
        scaled: whether the loss is scaled against float16's underflow (`precision=16-mixed`).

    Attributes:
        optimizer: PyTorch's own over the same parameters and state, for who wants to look.
        scale: the factor on the loss's gradient, None if it is not scaled.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        learning_rate: float,
        fused: bool,
        scaled: bool,
    ) -> None:
        self.parameters: list[Tensor] = list(parameters.values())
        self.optimizer = torch.optim.Adam(
            self.parameters, lr=learning_rate, betas=BETAS, eps=EPSILON, fused=fused
        )
        self.fused = fused
        device = self.parameters[0].device
        for parameter in self.parameters:
            self.optimizer.state[parameter] = {
                "step": torch.zeros((), device=device if fused else "cpu"),
                "exp_avg": torch.zeros_like(parameter, requires_grad=False),
                "exp_avg_sq": torch.zeros_like(parameter, requires_grad=False),
            }
        # the kernel copies what is not contiguous back and forth: it gets such memory as it lies
        self._strided = [not parameter.is_contiguous() for parameter in self.parameters]
        self.steps = self._column("step")
        self.means, self.squares = self._column("exp_avg"), self._column("exp_avg_sq")
        self.scale: Tensor | None = None
        if scaled:
            self.scale = torch.full((), FIRST_SCALE, device=device)
            self._growth = torch.zeros((), dtype=torch.int32, device=device)
            self._overflow = torch.zeros((), device=device)

    def step(self) -> None:
        """One optimizer step; with a scaled loss, none if a gradient overflowed."""
        if self.scale is not None:
            self._step_unscaled(self.scale)
        elif self.fused:
            torch._foreach_add_(self.steps, 1.0)
            self._fused_step(None)
        else:
            self.optimizer.step()

    @property
    def steps_made(self) -> int:
        """Optimizer steps made so far; waits for the device."""
        return int(self.steps[0].item())

    def load(self, steps_made: int, moments: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        """Continue from `steps_made` and the first and second moments, in parameter order."""
        for step, mean, square, (m, v) in zip(
            self.steps, self.means, self.squares, moments.values(), strict=True
        ):
            step.fill_(steps_made)
            mean.copy_(m)
            square.copy_(v)
        if self.scale is not None:
            self.scale.fill_(FIRST_SCALE)
            self._growth.zero_()

    def _step_unscaled(self, scale: Tensor) -> None:
        gradients = self._gradients()
        self._overflow.zero_()
        torch._amp_foreach_non_finite_check_and_unscale_(
            gradients, self._overflow, scale.double().reciprocal().float()
        )
        torch._foreach_add_(self.steps, 1.0 - self._overflow)
        self._fused_step(self._overflow)
        torch._amp_update_scale_(
            scale, self._growth, self._overflow, GROWTH, BACKOFF, GROWTH_INTERVAL
        )

    def _fused_step(self, overflow: Tensor | None) -> None:
        torch._fused_adam_(
            self._as_it_lies(self.parameters),
            self._as_it_lies(self._gradients()),
            self._as_it_lies(self.means),
            self._as_it_lies(self.squares),
            [],
            self.steps,
            lr=self.optimizer.defaults["lr"],
            beta1=BETAS[0],
            beta2=BETAS[1],
            weight_decay=0.0,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
            found_inf=overflow,
        )

    def _as_it_lies(self, tensors: list[Tensor]) -> list[Tensor]:
        """The same memory; all tensors of one parameter have the same strides."""
        return [
            tensor.as_strided((tensor.numel(),), (1,)) if strided else tensor
            for tensor, strided in zip(tensors, self._strided, strict=True)
        ]

    def _gradients(self) -> list[Tensor]:
        gradients: list[Any] = [parameter.grad for parameter in self.parameters]
        return gradients

    def _column(self, name: str) -> list[Tensor]:
        return [self.optimizer.state[parameter][name] for parameter in self.parameters]
