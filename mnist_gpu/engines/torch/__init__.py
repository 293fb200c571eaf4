"""`engine=torch`: the loop of PyTorch's own MNIST example. Lightning's cost is the difference."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from mnist_gpu.engines.base import Engine, LoopEngine, switched_on
from mnist_gpu.engines.torch import tuning
from mnist_gpu.engines.torch.data import EVALUATION_BATCH, Batch, EpochOrder, tensors, train_loader
from mnist_gpu.engines.torch.device import autocast, choose, parameter_dtype, set_precision
from mnist_gpu.engines.torch.network import MNISTNetwork, build_network, load_state, take_state
from mnist_gpu.engines.torch.step import TrainStep
from mnist_gpu.errors import UserError
from mnist_gpu.protocol.streams import dropout_seed
from mnist_gpu.protocol.workload import EngineFacts, Metrics, State
from mnist_gpu.timing.timeline import Timeline

DEVIATIONS = (
    "batches come in the protocol's order (a sampler instead of shuffle=True)",
    "initial weights are drawn from the seed in NumPy",
    "dropout's stream starts anew at every epoch, from seed and epoch",
)
NO_TF32 = "TF32 is off (PyTorch's default for convolutions on newer GPUs: on)"


class PyTorchEngine(Engine):
    """What `engine=torch` and `engine=lightning` have in common: everything but the training."""

    def make_parts(self, name: str, device: torch.device) -> None:
        """Network on the device, images and labels on the host, and the switches that are on.

        Raises:
            UserError: a switch, a division or a precision that is not to be had there.
        """
        workload, dataset = self.workload, self.workload.dataset
        set_precision(workload.precision, device)
        possible = tuning.possible(device, workload.world_size)
        self.switches = switched_on(self.options, name, device.type, possible)
        self.device, self.dtype = device, parameter_dtype(workload.precision)
        self.network = self._network().to(device, self.dtype)
        # after it has its place and type: neither changes what was drawn
        self.network.load(workload.initial_weights)
        tuning.prepare(self.switches, self.network)
        self.train = tensors(dataset.train_images, dataset.train_labels)
        self.test = tensors(dataset.test_images, dataset.test_labels)

    def _network(self) -> MNISTNetwork:
        workload = self.workload
        if self.options.division != "open":
            return build_network(workload.network)
        from mnist_gpu.engines.torch.kernels.network import build_open_network

        if self.device.type != "cpu" or workload.world_size > 1:
            raise UserError(
                "division=open: this project's kernels are for one Linux CPU;"
                " use division=tuned or division=stock"
            )
        bfloat16 = workload.precision == "bf16-mixed"
        return build_open_network(workload.network, self.dtype, bfloat16)

    @abstractmethod
    def rehearse(self, sizes: Sequence[int], watched: AbstractContextManager[Any]) -> None:
        """Train within `watched` on a batch of each size, and leave everything as it was."""

    def first_batches(self, sizes: Sequence[int]) -> Iterator[Batch]:
        """The first images and labels, on the device: a batch of each size."""
        images, labels = self.train.tensors
        for size in sizes:
            yield images[:size].to(self.device, self.dtype), labels[:size].to(self.device)

    def warm_up(self) -> None:
        size = self.workload.batch_size // self.workload.world_size
        # kernels are chosen for each shape: the last batch of an epoch is smaller
        self.rehearse([size, len(self.train) % size or size], nullcontext())
        self.evaluate()

    def trace(self, steps: int, folder: Path) -> None:
        """A Chrome trace for Perfetto (`trace.json`) and a table of operators (`operators.txt`)."""
        size = self.workload.batch_size // self.workload.world_size
        profile = torch.profiler.profile()
        self.rehearse([size] * steps, profile)
        profile.export_chrome_trace(str(folder / "trace.json"))
        table = profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=40)
        (folder / "operators.txt").write_text(table, encoding="utf-8")

    def evaluate(self) -> Metrics:
        """Mean loss and accuracy over the whole test set."""
        logits, labels = self._logits(), self.test.tensors[1].to(self.device)
        correct = (logits.argmax(1) == labels).sum().item()
        return Metrics(F.cross_entropy(logits, labels).item(), correct / len(labels))

    def predict(self) -> npt.NDArray[np.float32]:
        return self._logits().float().cpu().numpy()

    @torch.no_grad()
    def _logits(self) -> Tensor:
        was_training = self.network.training
        self.network.eval()
        images = self.test.tensors[0]
        # made before: answers kept from batch to batch would lie between what the batches leave
        # free, which glibc then cannot use again (300 MiB more, in two processes of three)
        logits = torch.empty(len(images), 10, dtype=self.dtype, device=self.device)
        # in mixed precision as the training is, and as the Trainer's evaluation
        with autocast(self.workload.precision, self.device)():
            for batch, rows in zip(
                images.split(EVALUATION_BATCH), logits.split(EVALUATION_BATCH), strict=True
            ):
                rows.copy_(self.network(batch.to(self.device, self.dtype)))
        # the Trainer leaves the mode as it finds it
        self.network.train(was_training)
        return logits

    def synchronise(self) -> None:
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)

    def facts_of(self, framework: str, version: str, backend: str, *deviations: str) -> EngineFacts:
        """What ran, beside the framework's name."""
        kind, precision = self.device.type, self.workload.precision
        if (kind, precision) == ("cuda", "float32"):
            deviations = (NO_TF32, *deviations)
        return EngineFacts(
            framework=framework,
            framework_version=version,
            backend=backend,
            precision=precision,
            accelerator=kind,
            accelerator_name=torch.cuda.get_device_name(self.device) if kind == "cuda" else kind,
            accelerator_count=self.workload.world_size,
            threads=torch.get_num_threads(),
            compile="torch.compile" if self.switches.get("compile") else "none",
            # cuDNN and the max-pool add up in any order
            deterministic=kind == "cpu",
            switches=self.switches,
            kernels=[*self.network.kernels],
            deviations_from_defaults=[*DEVIATIONS, *deviations],
        )


class TorchEngine(PyTorchEngine, LoopEngine):
    """Plain PyTorch."""

    version: ClassVar[int] = 2

    def build(self) -> None:
        workload = self.workload
        self.make_parts("torch", choose(self.accelerator))
        self.optimizer = torch.optim.Adam(
            self.network.parameters(),
            lr=workload.learning_rate,
            **tuning.adam_arguments(self.switches),
        )
        self.order = EpochOrder(self.train, workload.batch_size, workload.seed)
        self.loader: Any = train_loader(self.order)
        if self.switches.get("resident_data"):
            self.loader = tuning.ResidentLoader(self.order, self.device)
        self.step = TrainStep(
            self.network, self.optimizer, workload.precision, self.device, len(self.order)
        )
        self.train_on: Callable[[Tensor, Tensor], None] = self.step

    def train_epoch(self, epoch: int, timeline: Timeline) -> Metrics:
        torch.manual_seed(dropout_seed(self.workload.seed, epoch))
        # DistributedSampler counts epochs from 0
        self.order.set_epoch(epoch - 1)
        self.network.train()
        for images, labels in timeline.batches(self.loader):
            # to(...) is nothing where a tensor is there already
            self.train_on(images.to(self.device, self.dtype), labels.to(self.device))
        return self.step.metrics()

    def warm_up(self) -> None:
        super().warm_up()
        if self.switches.get("cuda_graphs"):
            [batch] = self.first_batches([self.workload.batch_size])
            self.train_on = tuning.GraphedStep(self.step, *batch)

    def rehearse(self, sizes: Sequence[int], watched: AbstractContextManager[Any]) -> None:
        # weights, moments and the step count: warming up is no training
        before = self.state()
        self.network.train()
        with watched:
            for images, labels in self.first_batches(sizes):
                self.train_on(images, labels)
            self.synchronise()
        self.step.reset()
        self.load_state(before)

    def state(self) -> State:
        return take_state(self.network, self.optimizer)

    def load_state(self, state: State) -> None:
        load_state(self.network, self.optimizer, state)

    def facts(self) -> EngineFacts:
        return self.facts_of("PyTorch", torch.__version__, self.device.type)


ENGINE = TorchEngine
