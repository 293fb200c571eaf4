"""What the Trainer must know of the processes that train one run together."""

from datetime import timedelta

import lightning.pytorch as L
import torch
from lightning.pytorch.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from lightning.pytorch.strategies import DDPStrategy

from mnist_gpu.measure import cpus
from mnist_gpu.measure.rank import here
from mnist_gpu.protocol.workload import Workload

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
    return DDPStrategy(timeout=ANSWER_WITHIN) if workload.world_size > 1 else "auto"


def join(trainer: L.Trainer, workload: Workload) -> torch.device:
    """Meet the other processes, once all are there; the device of this one."""
    if workload.world_size > 1:
        trainer.strategy.setup_environment()
        if trainer.strategy.root_device.type == "cpu":
            # as Lightning's own launcher shares the processor between its processes
            torch.set_num_threads(max(1, cpus.threads() // workload.devices))
    return trainer.strategy.root_device
