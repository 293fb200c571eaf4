"""What each precision name means on each device."""

from dataclasses import dataclass

import torch

from mnist_gpu.errors import UserError

MEANINGS = {
    "float32": (torch.float32, torch.float32),
    "tf32": (torch.float32, torch.float32),
    "bf16-mixed": (torch.float32, torch.bfloat16),
    "16-mixed": (torch.float32, torch.float16),
    "float64": (torch.float64, torch.float64),
}
POSSIBLE = {
    "cpu": ("float32", "bf16-mixed", "float64"),
    "cuda": ("float32", "tf32", "bf16-mixed", "16-mixed", "float64"),
    "mps": ("float32",),
}


@dataclass(frozen=True)
class Precision:
    """Types of the parameters and of the operands of products, and whether the loss is scaled so
    that gradients do not underflow."""

    parameters: torch.dtype
    products: torch.dtype
    scaled: bool = False


def prepare(name: str, device: torch.device) -> Precision:
    """Set PyTorch's switches for `name` and say which types follow.

    Raises:
        UserError: the device cannot do it; the message names what it can.
    """
    possible = POSSIBLE.get(device.type, ("float32",))
    if name not in possible:
        raise UserError(f"precision={name}: on {device.type} choose from {', '.join(possible)}")
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
        torch.backends.cudnn.allow_tf32 = name == "tf32"
        torch.backends.cudnn.benchmark = True
    return Precision(*MEANINGS[name], scaled=name == "16-mixed")
