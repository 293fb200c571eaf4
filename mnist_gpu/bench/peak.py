"""What the machine's arithmetic can do at best, measured beside the rest."""

import time
from collections.abc import Callable

SECONDS = 0.5


def peak_flops_per_s(precision: str = "float32") -> Callable[[], float]:
    """Gives a function that measures once: the best of a large product and a large convolution in
    oneDNN, in floating-point operations per second."""
    import torch

    from mnist_gpu.measure import cpus

    torch.set_num_threads(cpus.threads())
    dtype = torch.bfloat16 if precision == "bf16-mixed" else torch.float32
    side = 2048
    a, b = torch.randn(side, side).to(dtype), torch.randn(side, side).to(dtype)
    images = torch.randn(64, 64, 28, 28).to(dtype).contiguous(memory_format=torch.channels_last)
    kernel = torch.randn(128, 64, 3, 3).to(dtype).contiguous(memory_format=torch.channels_last)
    works: list[tuple[Callable[[], torch.Tensor], float]] = [
        (lambda: a @ b, 2.0 * side**3),
        (lambda: torch.conv2d(images, kernel), 2.0 * 64 * 26 * 26 * 128 * 64 * 9),
    ]
    if hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        works.append(
            (lambda: torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], ""), works[0][1])
        )

    def once() -> float:
        return max(_rate(work, flops) for work, flops in works)

    return once


def _rate(work: Callable[[], object], flops: float) -> float:
    work()
    best = 0.0
    until = time.perf_counter() + SECONDS / 3
    while time.perf_counter() < until:
        began = time.perf_counter()
        work()
        best = max(best, flops / (time.perf_counter() - began))
    return best
