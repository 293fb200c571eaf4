"""The launchers behind `launcher=slurm` and `launcher=slurm_local`, where Hydra looks for them.

There are none without the extra `slurm`.
"""

from contextlib import suppress

from hydra.core.config_store import ConfigStore

with suppress(ImportError):
    from mnist_gpu.runs import queue

    class SlurmLauncher(queue.SlurmLauncher):
        """Jobs of a sweep in a Slurm queue."""

    class LocalLauncher(queue.LocalLauncher):
        """Jobs of a sweep in processes of their own on this machine, one after the other."""

    for _name, _launcher, _options in (
        ("mnist_gpu_slurm", SlurmLauncher, queue.SlurmOptions),
        ("mnist_gpu_local", LocalLauncher, queue.Options),
    ):
        ConfigStore.instance().store(
            group="hydra/launcher",
            name=_name,
            node=_options(_target_=f"{__name__}.{_launcher.__name__}"),
            provider="mnist_gpu",
        )
