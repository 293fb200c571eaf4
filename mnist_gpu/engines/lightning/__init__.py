"""`engine=lightning`: the torch engine's program under the Lightning Trainer."""

import logging
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import lightning.pytorch as L

from mnist_gpu.data.datamodule import MNISTDataModule
from mnist_gpu.engines.base import EngineFacts
from mnist_gpu.engines.lightning.module import MNISTModule
from mnist_gpu.engines.lightning.timing import TimingCallback
from mnist_gpu.engines.torch import TorchEngine
from mnist_gpu.engines.torch.device import choose
from mnist_gpu.engines.torch.program import Program

if TYPE_CHECKING:
    from mnist_gpu.runs.journal import Journal

LIGHTNING_ACCELERATORS = {"cpu": "cpu", "cuda": "cuda", "mps": "mps"}


class LightningEngine(TorchEngine):
    """The Trainer drives; the module, the program and the batches are the torch engine's.

    Everything of the Trainer that would sit on the clock is off: its loggers, checkpoints, bars and
    summaries. The run's own (`mnist_gpu.runs`) do that work off the clock, for every engine alike.
    """

    def build(self) -> None:
        """Let the Trainer pick the accelerator, then place everything on its device."""
        # the complaint about a missing accelerator is ours, in one line
        device = choose(self.accelerator)
        _quieten()
        self.trainer = L.Trainer(
            accelerator=LIGHTNING_ACCELERATORS[device.type],
            devices=self.workload.devices,
            max_epochs=self.workload.epochs,
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
        self.program = Program(self.workload, self.settings, self.trainer.strategy.root_device)

    def fit(self, journal: "Journal") -> None:
        """Train every remaining epoch under the Trainer."""
        module = MNISTModule(self.program, self.program.steps, self.workload.steps_per_epoch)
        data = MNISTDataModule(self.workload, self.program.steps)
        self.trainer.callbacks.append(  # type: ignore[attr-defined]
            TimingCallback(journal, module)
        )
        # a resumed run goes on counting where it stopped
        progress: Any = self.trainer.fit_loop.epoch_progress.current
        progress.processed = progress.completed = len(journal.history)
        self.trainer.fit(module, datamodule=data)

    def facts(self) -> EngineFacts:
        """What ran: PyTorch, under Lightning."""
        return replace(self.program.facts(), framework="PyTorch Lightning")


def _quieten() -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\.")


ENGINE = LightningEngine
