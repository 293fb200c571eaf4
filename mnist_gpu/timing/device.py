"""Waiting for a PyTorch device, whichever it is."""

import warnings

import torch


def synchronise(device: torch.device) -> None:
    """Return once `device` has finished everything that was queued on it.

    A CPU computes while it is called, so there is nothing to wait for. A device that PyTorch has no
    way to wait for warns: what is timed on it is the host's time.
    """
    if device.type == "cpu":
        return
    accelerator = torch.accelerator.current_accelerator()
    if accelerator is not None and accelerator.type == device.type:
        torch.accelerator.synchronize(device)
    elif (wait := getattr(getattr(torch, device.type, None), "synchronize", None)) is not None:
        wait()
    else:
        warnings.warn(
            f"PyTorch cannot wait for a {device.type!r} device: phases on it hold the time of the"
            " host, not of the device",
            RuntimeWarning,
            stacklevel=2,
        )
