"""Whether an NVIDIA driver and GPU can run the CUDA that PyTorch was built with."""

import os
from pathlib import Path
from typing import Any

from packaging.version import Version

from mnist_gpu.measure import gpus

FACTS = Path(__file__).parent / "data" / "torch.yaml"


def why_not(built_with: str | None, answers: bool, nvml: Any = None) -> str | None:
    """Why this PyTorch cannot use the GPU that is here; None where nothing speaks against it.

    Args:
        built_with: `torch.version.cuda`, such as `13.2`; None for a build without CUDA.
        answers: `torch.cuda.is_available()`; a compatibility package may bridge an old driver.
        nvml: the module `pynvml`, or a stand-in.
    """
    import yaml

    card, _ = gpus.find(os.environ, nvml=nvml)
    if card is None:
        return None
    if built_with is None:
        return "there is an NVIDIA GPU, but this PyTorch is built without CUDA"
    rows = yaml.safe_load(FACTS.read_text(encoding="utf-8"))["cuda"]
    row = next((row for row in rows if row["cuda"] == int(float(built_with))), None)
    driver, capability = card.read("driver"), card.read("capability")
    if row is None:
        return None
    if driver and not answers and Version(driver) < Version(row["driver"]):
        fitting = [row for row in rows if Version(driver) >= Version(row["driver"])]
        return (
            f"the NVIDIA driver is {driver}, and this PyTorch's CUDA {built_with} needs"
            f" {row['driver']} or newer: update the driver{_or_install(fitting)}"
        )
    # builds with CUDA 12 from elsewhere than PyPI may hold code for older GPUs
    if capability and row["cuda"] > 12 and capability < row["capability"]:
        fitting = [row for row in rows if capability >= row["capability"]]
        return (
            f"the GPU's compute capability is {capability}, and this PyTorch's CUDA {built_with}"
            f" needs {row['capability']} or more{_or_install(fitting)}"
        )
    return None


def _or_install(fitting: list[dict[str, Any]]) -> str:
    return f", or pip install 'torch{fitting[0]['torch']}'" if fitting else ""
