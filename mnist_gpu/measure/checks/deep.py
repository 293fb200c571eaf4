"""What only importing the framework can tell."""

import time
from collections.abc import Iterator
from typing import Any

from mnist_gpu.engines import find
from mnist_gpu.errors import UserError
from mnist_gpu.measure.checks.finding import Finding, fail, ok, warn
from mnist_gpu.measure.checks.machine import Machine

PYTORCH_ENGINES = ("lightning", "torch")
# float32 over sums of 512 terms
TOLERANCE = 1e-3


def imports(machine: Machine) -> Iterator[Finding]:
    """Does the engine's framework load?"""
    began = time.perf_counter()
    try:
        find(machine.engine)
    except (UserError, ImportError, OSError, RuntimeError) as exc:
        yield fail(
            "Importing",
            f"The engine {machine.engine} does not load: {str(exc).splitlines()[0]}.",
            "A run cannot begin.",
            "Install its packages anew in an environment of their own.",
        )
        return
    yield ok(
        "Importing", f"The engine {machine.engine} loads in {time.perf_counter() - began:.1f} s."
    )
    if machine.engine in PYTORCH_ENGINES:
        yield from _torch(machine)


def _torch(machine: Machine) -> Iterator[Finding]:
    import torch

    wanted = machine.platform.get("accelerator")
    there = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    device = next((n for n in there if wanted in (n, "auto") and there[n]()), "cpu")
    if device == "cpu" and wanted in there:
        yield fail(
            "Device",
            f"PyTorch finds no {'NVIDIA GPU' if wanted == 'cuda' else 'GPU through Metal'}: "
            f"{_why_no(torch, str(wanted))}.",
            "A run trains on the processor or does not begin.",
            "See the lines above; with none, install PyTorch as pytorch.org, Get Started, says.",
        )
        return
    yield _computes(torch, device)


def _why_no(torch: Any, wanted: str) -> str:
    if wanted == "mps":
        built = torch.backends.mps.is_built()
        return "macOS does not offer it" if built else "it was built without Metal"
    return "the driver offers none" if torch.version.cuda else "it was built without CUDA"


def _computes(torch: Any, device: str) -> Finding:
    """The products of a layer's forward and backward pass, against float64 on the CPU."""
    made = torch.Generator().manual_seed(0)
    images, gradient = (torch.randn(64, n, generator=made) for n in (512, 128))
    try:
        found = (gradient.to(device).t() @ images.to(device)).cpu().double()
    except RuntimeError as exc:
        return fail(
            "Device",
            f"A small computation on {device} ends with an error: {str(exc).splitlines()[0]}.",
            "A run cannot train on it.",
            "See the lines above on the GPU and its driver.",
        )
    right = gradient.double().t() @ images.double()
    error = float((found - right).abs().max() / right.abs().max())
    if not error < TOLERANCE:
        return fail(
            "Device",
            f"A small computation on {device} gives a wrong result, off by {error:.1g}.",
            "What a run learns there is wrong.",
            "Update PyTorch and the system, or run with platform=cpu.",
        )
    name = torch.cuda.get_device_name() if device == "cuda" else device
    if error > TOLERANCE / 10:
        return warn(
            "Device",
            f"{name} computes with fewer digits than float32 has.",
            "Results differ a little from those of other machines.",
            "unset NVIDIA_TF32_OVERRIDE",
        )
    return ok("Device", f"PyTorch computes on {name}, and rightly.")
