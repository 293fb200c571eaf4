"""What only importing the framework can tell."""

import time
from collections.abc import Iterator
from typing import Any

from mnist_gpu.checks.finding import Finding, found
from mnist_gpu.checks.machine import Machine
from mnist_gpu.engines import find
from mnist_gpu.errors import UserError

# of float32 over sums of 64 terms; TF32, which stock does not use, is off by more
TOLERANCE = 1e-4
NAMES = {"cuda": "NVIDIA GPU", "mps": "GPU through Metal"}


def imports(machine: Machine) -> Iterator[Finding]:
    """Does the engine's framework load?"""
    began = time.perf_counter()
    try:
        find(machine.engine)
    except (UserError, ImportError, OSError, RuntimeError) as exc:
        yield found("does_not_load", engine=machine.engine, fault=_first_line(exc))
        return
    took = f"{time.perf_counter() - began:.1f}"
    yield found("loads", engine=machine.engine, seconds=took)
    if machine.pytorch:
        yield _device(machine)


def _device(machine: Machine) -> Finding:
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    for name, available in there.items():
        if machine.asks_for(name) and not available:
            return found("no_device", device=NAMES[name], why=_why_no(torch, name))
    return computes(torch, next((n for n in there if there[n] and machine.wants(n)), "cpu"))


def _why_no(torch: Any, name: str) -> str:
    if name == "mps":
        built = torch.backends.mps.is_built()
        return "macOS does not offer it" if built else "it is built without Metal"
    return "the driver offers none" if torch.version.cuda else "it is built without CUDA"


def computes(torch: Any, device: str) -> Finding:
    """The product of a layer's backward pass, against float64 on the processor."""
    made = torch.Generator().manual_seed(0)
    images, gradient = (torch.randn(64, width, generator=made) for width in (512, 128))
    try:
        product = (gradient.to(device).t() @ images.to(device)).cpu().double()
    except RuntimeError as exc:
        return found("computes_not", device=device, fault=_first_line(exc))
    right = gradient.double().t() @ images.double()
    error = float((product - right).abs().max() / right.abs().max())
    if error < TOLERANCE:
        name = torch.cuda.get_device_name() if device == "cuda" else device
        return found("computes", device="the processor" if name == "cpu" else name)
    return found("computes_wrongly", device=device, error=f"{error:.1g}")


def _first_line(exc: Exception) -> str:
    return (str(exc).splitlines() or [type(exc).__name__])[0].rstrip(".")
