"""What the Trainer must know of the processes that train one run together."""

from datetime import timedelta
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from lightning.pytorch.strategies import DDPStrategy

from mnist_gpu.engines.torch.peers import Peers
from mnist_gpu.protocol.workload import Workload
from mnist_gpu.runs.ranks import here

# a process that does not answer for this long is given up
ANSWER_WITHIN = timedelta(minutes=5)


def environment() -> ClusterEnvironment:
    """Who started this process and its peers.

    Said outright, because Lightning takes any Slurm job for one whose tasks are the devices, and
    would requeue it by itself.
    """
    started_by = here().started_by
    if started_by == "slurm":
        return SLURMEnvironment(auto_requeue=False)
    if started_by == "torchrun":
        return TorchElasticEnvironment()
    # where LOCAL_RANK is set, Lightning leaves starting processes to whoever set it
    return LightningEnvironment()


def strategy(workload: Workload) -> DDPStrategy | str:
    """DDP on several devices, what Lightning takes by itself on one."""
    return DDPStrategy(timeout=ANSWER_WITHIN) if workload.world > 1 else "auto"


def join(trainer: L.Trainer, workload: Workload) -> Peers:
    """Meet the other processes; waits until all are there."""
    if workload.world == 1:
        return Peers()
    chosen = trainer.strategy
    assert isinstance(chosen, DDPStrategy)
    chosen.setup_environment()
    return Peers(chosen.global_rank, chosen.world_size, workload.devices, chosen.root_device)


def leave() -> None:
    """Part from the other processes, if there are any."""
    import torch

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def leave_signals_alone(trainer: L.Trainer) -> None:
    """Keep the Trainer from taking SIGTERM over from the run, which has its own handler.

    Lightning's broadcasts from within the handler: where the other processes are in a sum of
    gradients, each waits for the other. It is installed after `on_fit_start`, so no hook before
    the loop can put the run's handler back.
    """
    connector: Any = trainer._signal_connector
    connector.register_signal_handlers = lambda: None
