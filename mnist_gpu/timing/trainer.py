"""What can be done to a Trainer, and known of it, from outside."""

import inspect
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import update_wrapper
from typing import Any

import lightning.pytorch as L
import torch
from torch.utils.data import DataLoader


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


class Around:
    """Runs every call of `owner.name` inside a fresh `context()` until it is restored.

    Only this object changes, not its class. Somebody else's replacement, below ours or put on top
    of it since, stays. A copy of the owner, pickled or deep, has its own method in this one's
    place: a data module that goes to its loader's workers takes its Trainer along, in mid-fit.
    """

    def __init__(
        self, owner: object, name: str, context: Callable[[], AbstractContextManager[Any]]
    ) -> None:
        self._owner, self._name, self._context = owner, name, context
        self._original = getattr(owner, name)
        self._below = vars(owner).get(name)
        self._active = True
        # attributes of what is below are its own: it may be another of these
        update_wrapper(self, self._original, updated=())
        setattr(owner, name, self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What `owner.name` gives, from inside the context."""
        if not self._active:
            return self._original(*args, **kwargs)
        with self._context():
            return self._original(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        if self._below is None:
            # by this name, which Lightning's decorators do not always leave to a method itself
            return getattr, (self._owner, self._name)
        return _itself, (self._below,)

    def restore(self) -> None:
        """Let calls be what they were."""
        self._active = False
        if vars(self._owner).get(self._name) is not self:
            return
        if self._below is None:
            delattr(self._owner, self._name)
        else:
            setattr(self._owner, self._name, self._below)


def _itself(method: Any) -> Any:
    return method


def why_wait_is_unknown(trainer: L.Trainer) -> str | None:
    """What keeps the wait for a batch from being told apart, None where nothing does."""
    if trainer.world_size > 1:
        return "between two batches Lightning makes the processes wait for each other"
    if "dataloader_iter" in inspect.signature(trainer.lightning_module.training_step).parameters:
        return "training_step(dataloader_iter) fetches its own batches"
    return None


def yields_batches(loaders: object) -> bool:
    """Whether training has one loader, and that yields batches, not single samples."""
    if isinstance(loaders, DataLoader):
        return loaders.batch_size is not None or loaders.batch_sampler is not None
    return not isinstance(loaders, Mapping | list | tuple)


def leading_dimension(batch: Any) -> int | None:
    """The first dimension that all tensors of a batch share, None if they share none."""
    # at every step of a training: the usual batch, a list of tensors, is asked for first
    if isinstance(batch, torch.Tensor):
        return batch.size(0) if batch.dim() else None
    if not isinstance(batch, (list, tuple)):
        if not isinstance(batch, Mapping):
            return None
        batch = batch.values()
    shared = None
    for part in batch:
        found = leading_dimension(part)
        if found is not None:
            if shared is not None and found != shared:
                return None
            shared = found
    return shared
