"""What can be known of a Trainer's batches from outside."""

import inspect
from collections.abc import Mapping
from typing import Any

import lightning.pytorch as L
import torch
from torch.utils.data import DataLoader


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
