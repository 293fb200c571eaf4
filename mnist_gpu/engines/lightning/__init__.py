"""`engine=lightning`: the torch engine's program under the Lightning Trainer."""

import logging
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import lightning.pytorch as L

from mnist_gpu.data.datamodule import MNISTDataModule
from mnist_gpu.engines.facts import EngineFacts
from mnist_gpu.engines.lightning import processes
from mnist_gpu.engines.lightning.module import MNISTModule
from mnist_gpu.engines.lightning.timing import TimingCallback
from mnist_gpu.engines.torch import TorchEngine, make_program
from mnist_gpu.engines.torch.device import choose

if TYPE_CHECKING:
    from mnist_gpu.timing.timeline import Timeline

LIGHTNING_ACCELERATORS = {"cpu": "cpu", "cuda": "cuda", "mps": "mps"}


class LightningEngine(TorchEngine):
    """The Trainer drives; the module, the program and the batches are the torch engine's.

    Everything of the Trainer that would sit on the clock is off: its loggers, checkpoints, bars and
    summaries. The run's own (`mnist_gpu.runs`) do that work off the clock, for every engine alike.
    """

    def build(self) -> None:
        """Let the Trainer pick the accelerator, then place everything on its device."""
        # the complaint about a missing accelerator is ours, in one line
        device = choose(self.accelerator, self.workload.devices)
        _quieten()
        self.trainer = L.Trainer(
            accelerator=LIGHTNING_ACCELERATORS[device.type],
            devices=self.workload.devices,
            num_nodes=self.workload.num_nodes,
            strategy=processes.strategy(self.workload),
            plugins=[processes.environment()],
            max_epochs=self.workload.epochs,
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
        processes.leave_signals_alone(self.trainer)
        peers = processes.join(self.trainer, self.workload)
        device = self.trainer.strategy.root_device
        self.program = make_program(self.workload, self.settings, device, peers)

    def fit(self, timeline: "Timeline") -> None:
        """Train every remaining epoch under the Trainer."""
        program, dataset = self.program, self.workload.dataset
        module = MNISTModule(program, program.steps, self.workload.steps_per_epoch)
        count = -(-self.workload.steps_per_epoch // program.steps)
        data = MNISTDataModule(
            program.blocks, count, len(dataset.train_labels), len(dataset.test_labels)
        )
        timing = TimingCallback(timeline, module)
        self.trainer.callbacks.append(timing)  # type: ignore[attr-defined]
        # a resumed run goes on counting where it stopped
        progress: Any = self.trainer.fit_loop.epoch_progress.current
        progress.processed = progress.completed = self._agree_on_start(len(timeline.history))
        self.trainer.fit(module, datamodule=data)
        # the Trainer leaves the network on the host
        program.network.to(program.device)

    def close(self) -> None:
        """Part from the other processes."""
        processes.leave()

    def _agree_on_start(self, epochs_done: int) -> int:
        """The first process alone has read the checkpoint: the others take over what it found."""
        if self.workload.world == 1:
            return epochs_done
        epochs_done = self.trainer.strategy.broadcast(epochs_done)
        if epochs_done:
            self.load_state(self.trainer.strategy.broadcast(self.state()))
        return epochs_done

    def facts(self) -> EngineFacts:
        """What ran: PyTorch, under Lightning."""
        return replace(self.program.facts(), framework="PyTorch Lightning")


def _quieten() -> None:
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\.")


ENGINE = LightningEngine
