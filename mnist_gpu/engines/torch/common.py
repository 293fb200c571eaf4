"""What `engine=torch` and `engine=lightning` have in common: network, data, evaluation, facts."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from mnist_gpu.engines.base import Engine
from mnist_gpu.engines.switches import switched_on
from mnist_gpu.engines.torch import tuning
from mnist_gpu.engines.torch.data import Batch, tensors
from mnist_gpu.engines.torch.device import parameter_dtype, set_precision
from mnist_gpu.engines.torch.network import MNISTNetwork, build_network
from mnist_gpu.errors import UserError
from mnist_gpu.protocol.engine_facts import EngineFacts
from mnist_gpu.protocol.metrics import Metrics

EVALUATION_BATCH = 1000  # of PyTorch's own MNIST example
DEVIATIONS = (
    "batches come in the protocol's order (a sampler instead of shuffle=True)",
    "initial weights are drawn from the seed in NumPy",
    "dropout's stream starts anew at every epoch, from seed and epoch",
)


class PyTorchEngine(Engine):
    """An engine on `MNISTNetwork`; no training yet."""

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

    @override
    def warm_up(self) -> None:
        size = self.workload.batch_size // self.workload.world_size
        self.rehearse([size, len(self.train) % size or size], nullcontext())
        self.evaluate()

    @override
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

    @override
    def predict(self) -> npt.NDArray[np.float32]:
        return self._logits().float().cpu().numpy()

    @torch.no_grad()
    def _logits(self) -> Tensor:
        was_training = self.network.training
        self.network.eval()
        batches = self.test.tensors[0].split(EVALUATION_BATCH)
        logits = torch.cat([self.network(b.to(self.device, self.dtype)) for b in batches])
        # the Trainer leaves the mode as it finds it
        self.network.train(was_training)
        return logits

    @override
    def synchronise(self) -> None:
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)

    def facts_of(self, framework: str, version: str, backend: str, *deviations: str) -> EngineFacts:
        """What ran, beside the framework's name."""
        kind, precision = self.device.type, self.workload.precision
        if (kind, precision) == ("cuda", "float32"):
            deviations = (
                "TF32 is off (PyTorch's default for convolutions on newer GPUs: on)",
                *deviations,
            )
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
